// The plan as boxes, in SVG: few shapes, each of which is an element that can be focused, named and
// styled, without a library. Boxes are in thousandths; 999 is the border and drawn at 1000.

import { foundLabel } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const LEAST = 20; // thousandths; the smallest side where nothing snaps

const make = (name, attributes = {}) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};
const edges = ([x1, y1, x2, y2]) => [x1, y1, x2 === 999 ? 1000 : x2, y2 === 999 ? 1000 : y2];
const corners = (box) => box.map((value) => Math.min(999, Math.max(0, Math.round(value))));

export class Canvas {
  snap = true;
  showFound = false;
  found = [];

  constructor(svg, plan, grid) {
    Object.assign(this, { svg, plan, step: 1000 / grid, picture: make("image"), layer: make("g") });
    this.lines = make("path", { class: "grid", d: gridPath(grid) });
    this.sketch = make("rect", { class: "sketch", visibility: "hidden" });
    for (const [key, value] of [["width", 1000], ["height", 1000], ["preserveAspectRatio", "none"]]) {
      this.picture.setAttribute(key, value);
    }
    svg.append(this.picture, this.lines, this.layer, this.sketch);
    svg.addEventListener("pointerdown", (event) => this.#press(event));
    svg.addEventListener("keydown", (event) => this.#key(event));
    plan.addEventListener("change", () => this.draw());
    this.draw();
  }

  // A picture under the boxes, of which the upper `share` is there.
  setPicture(uri, share = 1) {
    if (uri) this.picture.setAttribute("href", uri);
    else this.picture.removeAttribute("href");
    this.picture.setAttribute("height", 1000 * share);
  }

  draw() {
    const focused = this.layer.contains(document.activeElement);
    this.layer.replaceChildren(
      ...this.plan.objects.map((one, index) => this.#box(one, index)),
      ...(this.showFound ? this.found.map((one) => this.#found(one)) : []),
    );
    if (focused) this.layer.querySelector(".selected")?.focus();
  }

  // Selects a box, and takes the keys there.
  focus(index) {
    this.plan.select(index);
    this.layer.children[index]?.focus();
  }

  // -- drawing ------------------------------------------------------------------------------------

  #box(one, index) {
    const [x1, y1, x2, y2] = edges(one.box);
    const chosen = index === this.plan.selected;
    const group = make("g", {
      class: `box color-${index % 8}${chosen ? " selected" : ""}${one.locked ? " locked" : ""}`,
      tabindex: 0,
      role: "button",
      "data-index": index,
      "aria-pressed": chosen,
      "aria-label": `${one.name}, ${one.box.join(", ")}${one.locked ? ", locked" : ""}`,
    });
    group.append(make("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1 }));
    const inside = y1 < 60;
    const label = make("text", { x: x1 + 8, y: inside ? y1 + 40 : y1 - 12 });
    label.textContent = `${index + 1} ${one.name}`;
    group.append(label);
    group.addEventListener("focus", () => this.plan.select(index));
    if (chosen && !one.locked) {
      for (const name of HANDLES) {
        const x = name.includes("w") ? x1 : name.includes("e") ? x2 : (x1 + x2) / 2;
        const y = name.includes("n") ? y1 : name.includes("s") ? y2 : (y1 + y2) / 2;
        group.append(make("circle", { class: `handle ${name}`, "data-handle": name, cx: x, cy: y, r: 14 }));
      }
    }
    return group;
  }

  #found(one) {
    const [x1, y1, x2, y2] = edges(one.box);
    const group = make("g", { class: "found" });
    const label = make("text", { x: x1 + 8, y: Math.min(990, y2 + 34) });
    label.textContent = foundLabel(one);
    group.append(make("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1 }), label);
    return group;
  }

  // -- the mouse ----------------------------------------------------------------------------------

  #at(event) {
    const { left, top, width, height } = this.svg.getBoundingClientRect();
    return [((event.clientX - left) / width) * 1000, ((event.clientY - top) / height) * 1000];
  }

  #press(event) {
    if (event.button !== 0) return;
    const handle = event.target.dataset?.handle;
    const group = event.target.closest(".box");
    const start = this.#at(event);
    event.preventDefault();
    if (!group) {
      this.#drag(event, (at) => this.#sketchTo(start, at), (at) => this.#create(start, at));
      return;
    }
    const index = Number(group.dataset.index);
    this.plan.select(index);
    this.layer.querySelector(".selected")?.focus();
    const { box, locked } = this.plan.objects[index];
    if (locked) return;
    const before = this.plan.objects;
    let moved = false;
    const change = (at, final) => {
      const by = [at[0] - start[0], at[1] - start[1]];
      moved ||= Math.hypot(...by) > 4;
      if (!moved) return;
      const next = handle ? this.#resized(edges(box), handle, by) : this.#moved(edges(box), by);
      if (final) this.plan.objects = before; // so that undo returns to where the drag began
      this.plan.setObjects(this.#with(index, next), { final });
    };
    this.#drag(event, (at) => change(at, false), (at) => change(at, true));
  }

  // Captured by the canvas, so that a drag over its edge keeps its box.
  #drag(event, during, after) {
    const { svg } = this;
    svg.setPointerCapture(event.pointerId);
    const move = (one) => during(this.#at(one));
    const end = (one) => {
      svg.removeEventListener("pointermove", move);
      svg.removeEventListener("pointerup", end);
      svg.removeEventListener("pointercancel", end);
      after(this.#at(one));
    };
    svg.addEventListener("pointermove", move);
    svg.addEventListener("pointerup", end);
    svg.addEventListener("pointercancel", end);
  }

  #sketchTo(start, at) {
    const [x1, y1, x2, y2] = this.#spanned(start, at);
    for (const [key, value] of Object.entries({ x: x1, y: y1, width: x2 - x1, height: y2 - y1 })) {
      this.sketch.setAttribute(key, value);
    }
    this.sketch.setAttribute("visibility", "visible");
  }

  #create(start, at) {
    this.sketch.setAttribute("visibility", "hidden");
    if (Math.hypot(at[0] - start[0], at[1] - start[1]) < 25) {
      this.plan.select(-1);
      return;
    }
    this.add("object", this.#spanned(start, at));
  }

  #spanned(start, at) {
    const [x1, x2] = [start[0], at[0]].sort((a, b) => a - b);
    const [y1, y2] = [start[1], at[1]].sort((a, b) => a - b);
    return this.#fitted([x1, y1, x2, y2]);
  }

  // -- changes of boxes ---------------------------------------------------------------------------

  add(name, box) {
    const objects = [...this.plan.objects, { name, box: corners(box), locked: false }];
    this.plan.selected = objects.length - 1;
    this.plan.setObjects(objects);
    this.onNew?.(objects.length - 1);
  }

  #with(index, box) {
    return this.plan.objects.map((one, i) => (i === index ? { ...one, box: corners(box) } : one));
  }

  #near(value) {
    return this.snap ? Math.round(value / this.step) * this.step : value;
  }

  #fitted([x1, y1, x2, y2]) {
    const least = this.snap ? this.step : LEAST;
    const side = (low, high) => {
      const first = Math.min(Math.max(0, this.#near(low)), 1000 - least);
      return [first, Math.min(1000, Math.max(this.#near(high), first + least))];
    };
    const [a, c] = side(x1, x2);
    const [b, d] = side(y1, y2);
    return [a, b, c, d];
  }

  #moved([x1, y1, x2, y2], [dx, dy]) {
    const [width, height] = [x2 - x1, y2 - y1];
    const x = Math.min(Math.max(0, this.#near(x1 + dx)), 1000 - width);
    const y = Math.min(Math.max(0, this.#near(y1 + dy)), 1000 - height);
    return [x, y, x + width, y + height];
  }

  #resized([x1, y1, x2, y2], handle, [dx, dy]) {
    const least = this.snap ? this.step : LEAST;
    if (handle.includes("w")) x1 = Math.max(0, Math.min(this.#near(x1 + dx), x2 - least));
    if (handle.includes("e")) x2 = Math.min(1000, Math.max(this.#near(x2 + dx), x1 + least));
    if (handle.includes("n")) y1 = Math.max(0, Math.min(this.#near(y1 + dy), y2 - least));
    if (handle.includes("s")) y2 = Math.min(1000, Math.max(this.#near(y2 + dy), y1 + least));
    return [x1, y1, x2, y2];
  }

  // -- keys ---------------------------------------------------------------------------------------

  #key(event) {
    const index = Number(event.target.closest?.(".box")?.dataset.index ?? -1);
    const one = this.plan.objects[index];
    if (!one || event.ctrlKey || event.metaKey || event.altKey) return;
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key]?.map((sign) => sign * this.step);
    if (way && !one.locked) {
      const box = event.shiftKey
        ? this.#resized(edges(one.box), "se", way)
        : this.#moved(edges(one.box), way);
      this.plan.setObjects(this.#with(index, box));
    } else if ((event.key === "Delete" || event.key === "Backspace") && !one.locked) {
      this.remove(index);
    } else if (event.key === "d") {
      this.duplicate(index);
    } else if (event.key === "l") {
      this.lock(index);
    } else if (event.key === "[" || event.key === "]") {
      this.reorder(index, event.key === "]" ? 1 : -1);
    } else if (event.key === "Enter" || event.key === "F2") {
      this.onNew?.(index);
    } else {
      return;
    }
    event.preventDefault();
  }

  // The article before it goes with the new name.
  rename(index, name) {
    const article = new RegExp(`\\b([Aa])n?(?= \\{${index + 1}\\})`);
    const prose = this.plan.prose.replace(article, /^[aeiou]/i.test(name) ? "$1n" : "$1");
    this.plan.setObjects(this.plan.objects.map((one, i) => (i === index ? { ...one, name } : one)), { prose });
  }

  remove(index) {
    this.plan.setObjects(this.plan.objects.filter((_, i) => i !== index), { prose: "" });
  }

  duplicate(index) {
    const { name, box } = this.plan.objects[index];
    const shift = (sign) => this.#moved(edges(box), [sign * this.step, sign * this.step]);
    const next = shift(1);
    this.add(name, next.every((value, i) => value === edges(box)[i]) ? shift(-1) : next);
  }

  lock(index) {
    this.plan.objects = this.plan.objects.map((one, i) =>
      i === index ? { ...one, locked: !one.locked } : one,
    );
    this.plan.changed();
  }

  reorder(index, by) {
    const objects = [...this.plan.objects];
    const to = index + by;
    if (to < 0 || to >= objects.length) return;
    [objects[index], objects[to]] = [objects[to], objects[index]];
    this.plan.selected = to;
    this.plan.setObjects(objects, { prose: "" });
  }
}

function gridPath(grid) {
  const steps = Array.from({ length: grid - 1 }, (_, i) => ((i + 1) * 1000) / grid);
  return steps.map((at) => `M${at} 0V1000M0 ${at}H1000`).join("");
}
