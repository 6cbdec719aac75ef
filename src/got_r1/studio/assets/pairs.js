// The page that compares two finished folders: a list in the order of any term's change, and pairs.

import { $, element, fail, pairView, signed } from "./dom.js";
import { get, run } from "./requests.js";

const AT_ONCE = 60; // pairs that are listed before somebody asks for more
const small = $("compare").dataset.small === "true";
let pairs = []; // {index, prompt, category, seed, values: [[a...], [b...]], gains: [...]}
let terms = [];
let order = []; // the pairs that are listed, in their order
let shown = AT_ONCE;
let at = 0; // which of them is open
let abort = null; // of the judging

// -- the list --------------------------------------------------------------------------------------

async function load() {
  const found = await get("/api/compare/pairs");
  terms = found.terms;
  pairs = found.pairs.map((pair, index) => {
    const [a, b] = pair.values;
    return { ...pair, index, gains: a.map((value, i) => (value === null || b[i] === null ? null : b[i] - value)) };
  });
  const counts = Map.groupBy(pairs, (pair) => pair.category);
  options("category", [["", `all (${pairs.length})`], ...[...counts].sort().map(([name, some]) => [name, `${name} (${some.length})`])]);
  options("term", [["any", "any"], ...terms.map((name, index) => [String(index), name])]);
  $("judge").hidden = !found.unjudged;
  $("judge").textContent = `Have the judge score ${found.unjudged} pictures`;
  sort();
  await showChanges();
}

function options(id, entries) {
  const before = $(id).value;
  $(id).replaceChildren(...entries.map(([value, textContent]) => element("option", { value, textContent })));
  if (entries.some(([value]) => value === before)) $(id).value = before;
}

// The gains that count, of the chosen term or of all.
const gains = (pair) =>
  ($("term").value === "any" ? pair.gains : [pair.gains[Number($("term").value)]]).filter((gain) => gain != null);

const KEYS = {
  gain: (pair) => Math.max(...gains(pair)),
  loss: (pair) => -Math.min(...gains(pair)),
  change: (pair) => Math.max(...gains(pair).map(Math.abs)),
};

function sort() {
  const key = KEYS[$("order").value];
  order = pairs.filter((pair) => !$("category").value || pair.category === $("category").value);
  // Where there is no gain, Math.max is -Infinity: those stand last.
  if (key) order = order.map((pair) => [key(pair), pair]).sort(([a], [b]) => (a === b ? 0 : b - a)).map(([, pair]) => pair);
  shown = AT_ONCE;
  list();
}

// What stands beside a pair: the chosen term, or of all the one that the order is by.
function words(pair) {
  if (!terms.length) return element("span", { className: "hint", textContent: "no scores" });
  let index = Number($("term").value);
  if ($("term").value === "any") {
    const known = pair.gains.map((gain, i) => [gain, i]).filter(([gain]) => gain !== null);
    if (!known.length) return element("span", { className: "hint", textContent: "no scores" });
    const by = { gain: ([a], [b]) => b - a, loss: ([a], [b]) => a - b }[$("order").value];
    index = known.sort(by ?? (([a], [b]) => Math.abs(b) - Math.abs(a)))[0][1];
  }
  const gain = pair.gains[index];
  const [a, b] = pair.values.map((side) => side[index]?.toFixed(2) ?? "–");
  const change = element("b", { textContent: signed(gain), className: gain > 0 ? "gain" : gain < 0 ? "loss" : "" });
  return element("span", {}, `${terms[index]} `, change, element("span", { className: "hint", textContent: ` ${a} → ${b}` }));
}

function list() {
  $("list").replaceChildren(
    ...order.slice(0, shown).map((pair, place) => {
      const pictures = ["a", "b"].map((side) => {
        const image = element("img", { src: `/compare/pictures/${pair.index}/${side}.png`, alt: "", loading: "lazy" });
        image.classList.toggle("small", small);
        return image;
      });
      const prompt = element("span", { className: "prompt", textContent: pair.prompt });
      const button = element("button", { type: "button", title: pair.prompt }, element("span", { className: "thumbs" }, ...pictures), prompt, words(pair));
      button.addEventListener("click", () => open(place));
      return element("li", {}, button);
    }),
  );
  $("more").hidden = order.length <= shown;
}

async function showChanges() {
  const category = $("category").value;
  const rows = await get(`/api/compare/changes?category=${encodeURIComponent(category)}`);
  if (category !== $("category").value) return; // another one was chosen meanwhile
  if (!rows.length) {
    const hint = "Neither folder has scores: start the studio with --judge SPEC to have them scored.";
    $("changes").replaceChildren($("judge").hidden ? hint : "There are no scores yet.");
    return;
  }
  const row = (first, cells, tag) =>
    element("tr", {}, element("th", { scope: tag === "th" ? "col" : "row" }, first), ...cells.map((cell) => element(tag, {}, cell)));
  const body = rows.map(({ term, a, b, change: { mean, low, high, n }, clear }) => {
    const interval = low === null ? "" : ` [${signed(low)}, ${signed(high)}]`;
    const value = element("b", { textContent: signed(mean), className: clear ? (mean > 0 ? "gain" : "loss") : "" });
    return row(term, [a.toFixed(3), b.toFixed(3), element("span", {}, value, interval, clear ? " clear" : ""), String(n)], "td");
  });
  const head = row("term", ["A", "B", "change [95% interval]", "pairs"], "th");
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
  $("changes").replaceChildren(table);
}

// -- a pair ----------------------------------------------------------------------------------------

async function open(place) {
  if (place < 0 || place >= order.length) return;
  at = place;
  const { index } = order[place];
  try {
    const pair = await get(`/api/compare/pairs/${index}`);
    if (order[at]?.index !== index) return; // another one was opened meanwhile
    $("opened-title").textContent = pair.prompt;
    const seed = pair.seed === null ? "" : `, seed ${pair.seed}`;
    $("opened-about").textContent = `${pair.category}${seed}; pair ${place + 1} of ${order.length}`;
    $("sides").replaceChildren(pairView(["A", "B"], ["A", "B"], pair.sides, { small, changes: pair.changes, heading: "Differences" }));
    $("previous").disabled = place === 0;
    $("next").disabled = place === order.length - 1;
    if (!$("opened").open) $("opened").showModal();
  } catch (error) {
    $("opened").close();
    fail(error);
  }
}

// -- judging ---------------------------------------------------------------------------------------

async function judge() {
  const [bar, words] = $("progress").children;
  const mine = (abort = new AbortController());
  $("error").hidden = true;
  $("judge").disabled = true;
  $("cancel").hidden = false;
  try {
    await run("/api/compare/judge", {}, (event) => {
      if (event.kind === "queued") words.textContent = event.place ? `waiting, place ${event.place}` : "judging";
      if (event.kind !== "progress") return;
      bar.hidden = false;
      bar.value = event.share;
      words.textContent = `judging, ${event.done} of ${event.of}`;
    }, mine.signal);
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  }
  bar.hidden = true;
  words.textContent = "";
  $("judge").disabled = false;
  $("cancel").hidden = true;
  await load();
}

// -- wiring ----------------------------------------------------------------------------------------

$("category").addEventListener("change", () => {
  sort();
  showChanges().catch(fail);
});
for (const id of ["term", "order"]) $(id).addEventListener("change", sort);
$("more").addEventListener("click", () => {
  shown += AT_ONCE;
  list();
});
$("judge").addEventListener("click", () => judge().catch(fail));
$("cancel").addEventListener("click", () => abort?.abort());
$("previous").addEventListener("click", () => open(at - 1));
$("next").addEventListener("click", () => open(at + 1));
$("close").addEventListener("click", () => $("opened").close());
$("plans").addEventListener("change", () => $("sides").classList.toggle("bare", !$("plans").checked));
$("opened").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowLeft") open(at - 1);
  else if (event.key === "ArrowRight") open(at + 1);
  else if (event.key === "p") $("plans").click();
  else return;
  event.preventDefault();
});

load().catch(fail);
