// The page that compares two models: pairs are drawn one after the other, and answered as they come.

import { $, drawing, element, fail, pairView, say } from "./dom.js";
import { get, post, run } from "./requests.js";

const small = $("compare").dataset.small === "true";
const names = [$("name-a").textContent, $("name-b").textContent];
const LABELS = { left: "left is better", tie: "a tie", right: "right is better" };
let pairs = []; // {prompt, seed, blind, judge, state, sides, better, names}
let at = 0; // the pair that is shown
let abort = null; // of the series that is drawn

const finished = () => pairs.every((pair) => !pair.blind || pair.better || pair.state === "failed");

// -- drawing -------------------------------------------------------------------------------------

async function start() {
  abort?.abort();
  const mine = (abort = new AbortController());
  const lines = $("prompts").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const [seed, each] = [Number($("seed").value), Number($("each").value)];
  const common = { blind: $("blind").checked, judge: $("judge")?.checked ?? false };
  pairs = [...new Set(lines)].flatMap((prompt) =>
    Array.from({ length: each }, (_, index) => ({ prompt, seed: seed + index, ...common, state: "waiting" })),
  );
  at = 0;
  $("error").hidden = true;
  $("cancel").hidden = false;
  show();
  showResults();
  for (const pair of pairs) {
    try {
      await draw(pair, mine.signal);
    } catch (error) {
      if (error.name === "AbortError") break;
      pair.state = "failed";
      fail(error);
    }
    show();
  }
  if (abort !== mine) return; // another series has begun
  pairs = pairs.filter((pair) => pair.state !== "waiting" && pair.state !== "drawing");
  at = Math.max(0, Math.min(at, pairs.length - 1));
  $("cancel").hidden = true;
  say("");
  show();
  await showResults();
}

async function draw(pair, signal) {
  pair.state = "drawing";
  pair.sides = { left: { objects: [], chain: "", faults: [] }, right: { objects: [], chain: "", faults: [] } };
  const text = `drawing pair ${pairs.indexOf(pair) + 1} of ${pairs.length}`;
  const body = { prompt: pair.prompt, seed: pair.seed, blind: pair.blind, judge: pair.judge };
  say(text);
  show();
  const done = await run("/api/compare/draw", body, (event) => {
    const side = pair.sides[event.side];
    if (event.kind === "queued") say(event.place ? `waiting, place ${event.place}` : text);
    if (event.kind === "chain") Object.assign(side, { chain: event.chain, objects: event.objects });
    if (event.kind === "progress") say(text, (event.share + (event.side === "right")) / 2);
    if (event.kind === "image") Object.assign(side, { picture: event.png, share: event.share });
    if (event.kind === "chain" || event.kind === "image") refresh(pair);
  }, signal);
  pair.sides = { left: done.left, right: done.right };
  Object.assign(pair, { state: "drawn", better: done.better, changes: done.changes });
}

// -- the pairs -----------------------------------------------------------------------------------

function titles(pair) {
  if (!pair.blind) return [`A: ${names[0]}`, `B: ${names[1]}`];
  return pair.names && finished() ? pair.names.map((name, index) => `${index ? "Right" : "Left"}: ${name}`) : ["Left", "Right"];
}

function show() {
  $("pairs").replaceChildren(...pairs.map(chip));
  $("pair").hidden = !pairs.length;
  if (!pairs.length) return;
  const pair = pairs[at];
  $("pair-title").textContent = `${pair.prompt} (seed ${pair.seed})`;
  for (const button of document.querySelectorAll("[data-better]")) {
    button.disabled = pair.state !== "drawn";
    button.ariaPressed = String(pair.better === button.dataset.better);
  }
  const words = pair.blind && !finished() ? "names are told when every pair has its answer" : "";
  $("said").textContent = [pair.better ? `Kept: ${LABELS[pair.better]}` : "", words].filter(Boolean).join("; ");
  refresh(pair);
}

function refresh(pair) {
  if (pair !== pairs[at] || !pair.sides) {
    if (pair === pairs[at]) $("sides").replaceChildren();
    return;
  }
  // What the judge says would be half an answer.
  const hidden = pair.blind && !pair.better;
  const sides = [pair.sides.left, pair.sides.right].map((side) =>
    hidden ? { ...side, terms: {}, faults: [] } : { ...side, terms: withTotal(side) },
  );
  $("sides").replaceChildren(pairView(titles(pair), pair.blind ? ["Left", "Right"] : ["A", "B"], sides, { small, changes: hidden ? [] : pair.changes }));
}

const withTotal = (side) => (side.terms ? { ...side.terms, total: side.total } : {});

function chip(pair, index) {
  const state = pair.better ? `answered, ${LABELS[pair.better]}` : pair.state;
  const button = element("button", { type: "button", title: pair.prompt, ariaLabel: `Pair ${index + 1}: ${state}` });
  if (index === at) button.ariaCurrent = "true";
  for (const side of ["left", "right"]) {
    const { picture } = pair.state === "drawn" ? pair.sides[side] : {};
    const thumb = drawing({ picture, label: "", small });
    thumb.setAttribute("aria-hidden", "true");
    thumb.removeAttribute("role");
    button.append(thumb);
  }
  const mark = pair.better ? { left: "◀", tie: "=", right: "▶" }[pair.better] : pair.state === "failed" ? "!" : "·";
  button.append(element("span", { textContent: `${index + 1} ${mark}` }));
  button.addEventListener("click", () => go(index));
  return element("li", {}, button);
}

function go(index) {
  if (index < 0 || index >= pairs.length) return;
  at = index;
  show();
}

// Shown as kept once the server has it on its disk.
async function answer(better) {
  const pair = pairs[at];
  if (pair?.state !== "drawn") return;
  $("error").hidden = true;
  try {
    const { prompt, seed, blind } = pair;
    pair.names = (await post("/api/compare/answers", { prompt, seed, blind, better })).names;
  } catch (error) {
    fail(new Error(`The answer was not kept: ${error.message}`));
    return;
  }
  pair.better = better;
  const next = pairs.findIndex((one, index) => index > at && !one.better && one.state !== "failed");
  if (pairs[at] === pair && next > 0) at = next;
  show();
  await showResults();
}

// -- results -------------------------------------------------------------------------------------

const percent = (value) => `${Math.round(100 * value)}%`;
const signed = (value) => `${value < 0 ? "−" : "+"}${percent(Math.abs(value))}`;

function sentence({ a, b, tie, difference: { mean, low, high, n, prompts }, clear }) {
  const count = `${n} ${n === 1 ? "answer" : "answers"}${prompts === n ? "" : ` on ${prompts} prompts`}`;
  const interval = low === null ? "" : `, 95% interval ${signed(low)} to ${signed(high)}`;
  const verdict = clear ? `${mean > 0 ? "B" : "A"} is clearly better` : "neither is clearly better";
  return `Wins of B minus A: ${signed(mean)}${interval}, of ${count}: A ${a}, B ${b}, ties ${tie}; ${verdict}.`;
}

async function showResults() {
  if (!finished()) {
    $("results").replaceChildren("The answers are counted here when every blind pair has one.");
    return;
  }
  if (!$("results").querySelector("p")) $("results").replaceChildren("Counting.");
  try {
    const { all, blind } = await get("/api/compare/answers");
    if (!finished()) return; // another series has begun meanwhile
    const lines = [];
    if (all.difference.n) lines.push(sentence(all));
    if (blind.difference.n && blind.difference.n < all.difference.n) lines.push(`Blind ones alone: ${sentence(blind)}`);
    $("results").replaceChildren(...(lines.length ? lines : ["None yet."]).map((textContent) => element("p", { textContent })));
  } catch (error) {
    fail(error);
  }
}

// -- wiring --------------------------------------------------------------------------------------

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  start().catch(fail);
});
$("cancel").addEventListener("click", () => abort?.abort());
$("plans").addEventListener("change", () => $("sides").classList.toggle("bare", !$("plans").checked));
for (const button of document.querySelectorAll("[data-better]")) {
  button.addEventListener("click", () => answer(button.dataset.better));
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("textarea, input:not([type=checkbox])")) return;
  const better = { 1: "left", 2: "tie", 3: "right" }[event.key];
  if (better) answer(better);
  else if (event.key === "ArrowLeft") go(at - 1);
  else if (event.key === "ArrowRight") go(at + 1);
  else if (event.key === "p") $("plans").click();
  else return;
  event.preventDefault();
});

showResults();
