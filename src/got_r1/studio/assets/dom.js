// What the pages share: elements, what is said of work and of failures, and pictures with boxes
// over them.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

// What happens, with the share of it that is done.
export function say(text, share = null) {
  const [bar, words] = $("progress").children;
  bar.hidden = share === null;
  bar.value = share ?? 0;
  words.textContent = text;
}

export function fail(error) {
  $("error").hidden = false;
  $("error").textContent = error.message;
}

export const list = (lines, properties = {}) =>
  element("ul", properties, ...lines.map((text) => element("li", { textContent: text })));

const shape = (name, attributes, ...children) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

// Boxes are in thousandths; 999 is the border and drawn at 1000.
const rect = ([x1, y1, x2, y2]) => ({
  x: x1,
  y: y1,
  width: (x2 === 999 ? 1000 : x2) - x1,
  height: (y2 === 999 ? 1000 : y2) - y1,
});

// What is written at a found box: its name, and its IoU with the planned box that it belongs to.
// The number comes first, since a long name may be cut off at the canvas's edge.
export const foundLabel = ({ name, iou }) => `found${iou === undefined ? "" : `, IoU ${iou.toFixed(2)}`}: ${name}`;

// A picture (an address, or null) with planned boxes and found ones, of which `share` is there.
export function drawing({ picture, label, objects = [], found = null, share = 1, small = false }) {
  const svg = shape("svg", { viewBox: "0 0 1000 1000", role: "img", "aria-label": label });
  svg.classList.add("drawing");
  svg.classList.toggle("small", small);
  if (picture) {
    const image = { href: picture, width: 1000, height: 1000 * share, preserveAspectRatio: "none" };
    svg.append(shape("image", image));
  }
  const boxes = shape("g", { class: "boxes" });
  objects.forEach(({ name, box }, index) => {
    const label = shape("text", { x: box[0] + 8, y: box[1] < 60 ? box[1] + 40 : box[1] - 12 });
    label.textContent = `${index + 1} ${name}`;
    boxes.append(shape("g", { class: `planned color-${index % 8}` }, shape("rect", rect(box)), label));
  });
  const seen = shape("g", { class: "seen" });
  for (const { name, box, iou } of found ?? []) {
    const label = shape("text", { x: box[0] + 8, y: Math.min(990, box[3] + 34) });
    label.textContent = foundLabel({ name, iou });
    seen.append(shape("g", { class: "found" }, shape("rect", rect(box)), label));
  }
  svg.append(boxes, seen);
  return svg;
}

export const number = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
export function signed(value) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(2);
  return text === "0.00" ? text : `${value < 0 ? "−" : "+"}${text}`;
}

// A chain with its tags as names and boxes, as the report shows it.
const PIECE = /<\|obj_start\|>(.*?)<\|obj_end\|>|<\|box_start\|>(.*?)<\|box_end\|>/gs;
function chainText(text) {
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(PIECE)) {
    pieces.push(text.slice(end, match.index));
    const [whole, name, box] = match;
    pieces.push(name !== undefined ? element("b", { textContent: name }) : element("code", { textContent: box }));
    end = match.index + whole.length;
  }
  return element("p", { className: "chain-text" }, ...pieces, text.slice(end));
}

// Both sides' terms in a table: the right one's gain over the left one, and what was said of each.
function termTable(titles, left, right) {
  const names = [...new Set([left, right].flatMap((side) => Object.keys(side.terms)))];
  const said = [left, right].flatMap((side) => Object.keys(side.evidence ?? {}));
  // A term that the judge could not answer has words alone; the total stands last.
  const unanswered = [...new Set(said)].filter((name) => !names.includes(name));
  names.splice(names.includes("total") ? names.indexOf("total") : names.length, 0, ...unanswered);
  const head = element("tr", {}, ...["term", ...titles, `${titles[1]} − ${titles[0]}`].map((text) => element("th", { scope: "col", textContent: text })));
  const rows = names.flatMap((name) => {
    const [a, b] = [left.terms[name], right.terms[name]];
    const gain = a == null || b == null ? null : b - a;
    const row = element(
      "tr",
      {},
      element("th", { scope: "row", textContent: name }),
      element("td", { textContent: number(a) }),
      element("td", { textContent: number(b) }),
      element("td", { textContent: signed(gain), className: gain > 0 ? "gain" : gain < 0 ? "loss" : "" }),
    );
    const said = [left, right].map((side, index) => [titles[index], side.evidence?.[name]]).filter(([, text]) => text);
    if (!said.length) return [row];
    const words = said.map(([title, text]) => element("p", {}, element("b", { textContent: `${title}: ` }), text));
    return [row, element("tr", { className: "said" }, element("td", { colSpan: 4 }, ...words))];
  });
  return element("table", { className: "terms-table" }, element("thead", {}, head), element("tbody", {}, ...rows));
}

// Two sides of a pair, each {picture, objects, found, chain, faults, terms, evidence}, under titles;
// `short` are their titles in tables.
export function pairView(titles, short, sides, { small = false, changes = [], heading = "Differences of the plans" } = {}) {
  const figures = sides.map((side, index) =>
    element(
      "figure",
      {},
      element("figcaption", { textContent: titles[index] }),
      drawing({ ...side, small, label: `${titles[index]}: ${side.objects.map((one) => one.name).join(", ") || "no plan"}` }),
      chainText(side.chain),
      list(side.faults, { className: "faults" }),
    ),
  );
  const view = element("div", {}, element("div", { className: "sides" }, ...figures));
  if (sides.some((side) => side.terms && Object.keys(side.terms).length)) {
    const [left, right] = sides.map((side) => ({ ...side, terms: side.terms ?? {} }));
    view.append(termTable(short, left, right));
  }
  if (changes.length) {
    view.append(element("h3", { textContent: heading }), list(changes, { className: "words" }));
  }
  return view;
}
