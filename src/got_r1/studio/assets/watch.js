// Keeps the parts of a page as the files of the runs are: each is asked for again and again, and put
// in place where it has changed. A hidden tab asks for nothing.

import { addSliders } from "./watch_sliders.js";
import { keepingPlace } from "./watch_place.js";

const PAUSE = 2500; // milliseconds between two rounds

const error = document.querySelector("#error");
const filter = document.querySelector("#filter");

class Part {
  constructor(place) {
    this.place = place;
    this.extra = {}; // what the reader chose: a step, a prompt
    this.shown = ""; // the address of what is shown
    this.tag = "";
  }

  get folded() {
    const details = this.place.querySelector(":scope > details");
    return details !== null && !details.open;
  }

  get address() {
    const url = new URL(this.place.dataset.part, location.href);
    for (const [name, value] of Object.entries(this.extra)) {
      if (value !== "") url.searchParams.set(name, value);
    }
    return url.href;
  }

  async load() {
    const address = this.address;
    this.loading?.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    const headers = address === this.shown ? { "If-None-Match": this.tag } : {};
    const answer = await fetch(address, { headers, signal, cache: "no-store" });
    if (answer.status === 304) return;
    if (!answer.ok) throw new Error((await answer.json()).message);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (signal.aborted) return;
    keepingPlace(this.place, () => this.place.replaceChildren(...page.body.childNodes));
    this.shown = address;
    this.tag = answer.headers.get("ETag") ?? "";
    this.place.dispatchEvent(new Event("replaced"));
    dress();
  }
}

const parts = [...document.querySelectorAll("[data-part]")].map((place) => new Part(place));

const problems = new Map();

// Loads a part; what is wrong with any is said above all of them.
async function show(part) {
  problems.delete(part);
  try {
    await part.load();
  } catch (problem) {
    if (problem.name === "AbortError") return;
    const away = problem instanceof TypeError;
    problems.set(part, away ? "The studio does not answer; this is what it said last." : problem.message);
  }
  const [message = ""] = problems.values();
  if (error.textContent !== message) error.textContent = message;
  error.hidden = !message;
}

// Times as "3 min ago", and what the filter leaves.
function dress() {
  const now = Date.now() / 1000;
  for (const time of document.querySelectorAll("time[data-at]")) {
    const text = ago(now - Number(time.dataset.at));
    if (time.textContent !== text) time.textContent = text;
  }
  const words = (filter?.value ?? "").toLowerCase().split(/\s+/);
  for (const row of document.querySelectorAll("tr[data-name]")) {
    const name = row.dataset.name.toLowerCase();
    row.hidden = !words.every((word) => name.includes(word));
  }
}

function ago(seconds) {
  const units = [["s", 60], ["min", 60], ["h", 24], ["d", Infinity]];
  let value = Math.max(0, seconds);
  for (const [unit, most] of units) {
    if (value < most) return `${Math.floor(value)} ${unit} ago`;
    value /= most;
  }
  return "";
}

async function keep(part) {
  if (!document.hidden && !part.folded) await show(part);
  dress();
  setTimeout(keep, PAUSE, part);
}

// Icons of a few pixels keep them when they are enlarged.
document.addEventListener("load", ({ target }) => {
  if (target.localName === "img") target.classList.toggle("small", target.naturalWidth < 128);
}, true);
filter?.addEventListener("input", dress);
addSliders(parts, show);
parts.forEach(keep);
