// The page that draws: a prompt, its plan, and pictures of it.

import { Canvas } from "./canvas.js";
import { $, element, fail, number, say } from "./dom.js";
import { Plan } from "./plan.js";
import { planPanel } from "./plan_panel.js";
import { get, post, remove, run } from "./requests.js";

const main = $("draw");
const plan = new Plan();
const canvas = new Canvas($("canvas"), plan, Number(main.dataset.grid));
let entry = null; // the one of the history that is shown
let shown = 0; // which of its pictures
let abort = null; // of the job that runs

const settle = planPanel(plan, canvas);
const picture = (name, index) => `/history/${name}/${index}.png`;
const valueOf = (id) => Number($(id).value);

// -- jobs ------------------------------------------------------------------------------------------

// Runs one job at a time; the buttons that start one are off meanwhile.
async function work(text, url, body, seen) {
  abort?.abort();
  const mine = (abort = new AbortController());
  $("error").hidden = true;
  $("cancel").hidden = false;
  say(text);
  try {
    return await run(
      url,
      body,
      (event) => {
        if (event.kind === "queued" && event.place) say(`waiting, place ${event.place}`);
        else if (event.kind === "queued") say(text);
        else seen(event);
      },
      mine.signal,
    );
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
    return null;
  } finally {
    if (abort === mine) {
      abort = null;
      $("cancel").hidden = true;
      say("");
    }
  }
}

// Whether prompt and settings can be sent; the browser says at the first that cannot why.
function ready() {
  $("prompt").setCustomValidity($("prompt").value.trim() ? "" : "Say what is to be drawn.");
  return $("ask").reportValidity();
}

async function write() {
  await settle();
  if (!ready()) return;
  if ($("other-seed").checked) $("seed").value = Math.floor(Math.random() * 2 ** 31);
  const prompt = $("prompt").value.trim();
  plan.prompt = prompt;
  entry = null;
  showEntry();
  $("notes").replaceChildren();
  $("candidates").hidden = true;
  const count = valueOf("plans");
  const body = { prompt, seed: valueOf("seed"), plans: count, temperature: valueOf("temperature") };
  const done = await work(count > 1 ? `writing ${count} plans` : "writing", "/api/plan", body, (event) => {
    if (event.kind === "chain" && event.candidate === 0) plan.show(event, { growing: true });
  });
  if (!done) {
    plan.stop();
    return;
  }
  plan.show(done.candidates[done.chosen]);
  plan.modelText = plan.text;
  const cut = done.stop === "length" ? ["The chain was cut at its limit of tokens."] : [];
  notes([...done.not_understood, ...done.reworded, ...cut]);
  showCandidates(done);
}

function notes(lines) {
  $("notes").replaceChildren(...lines.map((text) => element("li", { textContent: text })));
}

function showCandidates({ candidates, scores, chosen, why }) {
  $("candidates").hidden = candidates.length < 2;
  $("candidates").replaceChildren(
    ...candidates.map((view, index) => {
      const score = scores[index] === null ? "–" : scores[index]?.toFixed(2);
      const button = element("button", { type: "button", title: index === chosen ? why : "" });
      button.append(thumbnail(view.objects), element("span", { textContent: `plan ${index + 1}: ${score}` }));
      button.ariaPressed = String(index === chosen);
      button.addEventListener("click", () => {
        plan.show(view);
        plan.modelText = view.chain;
        for (const other of $("candidates").querySelectorAll("button")) {
          other.ariaPressed = String(other === button);
        }
      });
      return element("li", {}, button);
    }),
  );
}

function thumbnail(objects) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 1000 1000");
  svg.setAttribute("aria-hidden", "true");
  objects.forEach(({ box: [x1, y1, x2, y2] }, index) => {
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const values = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: `color-${index % 8}` };
    for (const [key, value] of Object.entries(values)) rect.setAttribute(key, value);
    svg.append(rect);
  });
  return svg;
}

async function draw() {
  await settle();
  if (!ready()) return;
  if (!plan.text.trim()) {
    await write();
    if (!plan.text.trim()) return;
  }
  const before = entry && picture(entry.name, shown);
  const body = {
    prompt: $("prompt").value.trim(),
    chain: plan.text,
    seed: valueOf("seed"),
    n: valueOf("pictures"),
    guidance: valueOf("guidance"),
    temperature: valueOf("image-temperature"),
  };
  const done = await work("drawing", "/api/draw", body, (event) => {
    if (event.kind === "progress") say("drawing", event.share);
    if (event.kind === "image" && event.index === 0) {
      canvas.setPicture(event.png, event.rows / Number(main.dataset.grid));
    }
  });
  if (!done) {
    showEntry();
    return;
  }
  notes([...done.not_understood, ...done.reworded, ...done.changes]);
  if (done.changes.length) plan.show(done, { keepLocks: true });
  entry = { ...done, name: done.entry };
  shown = 0;
  showEntry(before);
  await listHistory();
}

// -- the picture -------------------------------------------------------------------------------------

function showEntry(before = null) {
  const small = main.dataset.small === "true";
  canvas.found = [];
  $("terms").hidden = true;
  $("actions").hidden = !entry;
  $("compare").hidden = !(entry && before);
  $("pictures-shown").replaceChildren();
  $("faults").replaceChildren();
  $("show-found").disabled = true;
  if (!entry) {
    canvas.setPicture(null);
    canvas.draw();
    return;
  }
  for (let index = 0; index < entry.images; index += 1) {
    const image = element("img", { src: picture(entry.name, index), alt: `${entry.prompt}, picture ${index + 1}` });
    image.classList.toggle("small", small);
    const button = element("button", { type: "button", ariaPressed: String(index === shown) }, image);
    button.addEventListener("click", () => {
      shown = index;
      showEntry();
    });
    $("pictures-shown").append(button);
  }
  $("pictures-shown").hidden = Boolean(before) && entry.images === 1;
  if (before) {
    $("before").src = before;
    $("after").src = picture(entry.name, shown);
    for (const id of ["before", "after"]) $(id).classList.toggle("small", small);
    $("slide").value = 0;
    slide();
  }
  const look = entry.looks?.[shown] ?? {};
  for (const fault of look.faults ?? []) $("faults").append(element("li", { textContent: fault }));
  setFound(look.found);
  const verdict = entry.verdicts?.[shown];
  if (verdict) showVerdict(verdict);
  canvas.setPicture($("under").checked ? picture(entry.name, shown) : null);
  canvas.draw();
  $("png").href = picture(entry.name, shown);
  $("png").download = `${entry.name}.png`;
  const { prompt, prose, objects } = entry;
  const text = JSON.stringify(prose ? { prompt, prose, objects } : { prompt, chain: entry.chain }, null, 1);
  $("json").href = `data:application/json;charset=utf-8,${encodeURIComponent(text)}`;
}

function setFound(found) {
  canvas.found = found ?? [];
  $("show-found").disabled = !found;
}

function slide() {
  $("after").style.clipPath = `inset(0 0 0 ${$("slide").value}%)`;
}

async function judge() {
  const [judged, index] = [entry, shown];
  const done = await work("judging", `/api/judge/${judged.name}/${index}`, {}, () => {});
  if (!done) return;
  judged.verdicts = { ...judged.verdicts, [index]: done };
  if (judged !== entry || index !== shown) return; // another picture is shown meanwhile
  showVerdict(done);
  $("show-found").checked = canvas.showFound = true;
  canvas.draw();
}

function showVerdict({ terms, evidence, total, found }) {
  const row = (name, value, said = "") => [
    element("dt", { textContent: name }),
    element("dd", {}, element("b", { textContent: number(value) }), ` ${said}`),
  ];
  // A term that the judge could not answer has words alone.
  const rows = Object.entries(evidence).flatMap(([name, said]) => row(name, terms[name], said));
  $("terms").replaceChildren(...rows, ...row("reward", total));
  $("terms").hidden = false;
  setFound(found);
}

// -- the plan ----------------------------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
  if (["INPUT", "TEXTAREA"].includes(document.activeElement.tagName)) return; // their own undo
  event.preventDefault();
  if (event.shiftKey) plan.redo();
  else plan.undo();
});

async function mend() {
  await settle();
  try {
    const done = await post("/api/mend", {
      prompt: $("prompt").value.trim(),
      chain: plan.text,
      margin: valueOf("margin"),
    });
    const held = plan.objects.filter((one, i) => one.locked && String(one.box) !== String(done.objects[i]?.box));
    if (done.repaired && held.length) {
      notes([`Not mended: it would move what is locked (${held.map((one) => one.name).join(", ")}).`]);
      return;
    }
    if (done.repaired) plan.show(done, { keepLocks: true });
    notes([done.repaired ? `Mended: ${done.reason}.` : `Not mended: ${done.reason}.`]);
  } catch (error) {
    fail(error);
  }
}

// -- history -----------------------------------------------------------------------------------------

async function listHistory(before = "") {
  const entries = await get(`/api/history${before ? `?before=${before}` : ""}`);
  const items = entries.map((one) => {
    const image = element("img", { src: picture(one.name, 0), alt: "", loading: "lazy" });
    image.classList.toggle("small", main.dataset.small === "true");
    const open = element("button", { type: "button", title: one.prompt }, image, element("span", { textContent: one.prompt }));
    open.addEventListener("click", () => reopen(one.name).catch(fail));
    const gone = element("button", { type: "button", className: "gone", textContent: "×", ariaLabel: `Delete: ${one.prompt}` });
    const item = element("li", {}, open, gone);
    gone.addEventListener("click", async () => {
      try {
        await remove(`/api/history/${one.name}`);
        item.remove();
      } catch (error) {
        fail(error);
      }
    });
    return item;
  });
  if (before) $("history").append(...items);
  else $("history").replaceChildren(...items);
  $("older").hidden = entries.length < 60;
  $("older").onclick = () => listHistory(entries.at(-1).name).catch(fail);
}

async function reopen(name) {
  await settle();
  const found = await get(`/api/history/${name}`);
  $("prompt").value = plan.prompt = found.prompt;
  $("seed").value = found.seed;
  $("guidance").value = found.guidance;
  $("image-temperature").value = found.image_temperature;
  $("pictures").value = found.images;
  plan.show(found);
  plan.modelText = found.chain;
  entry = found;
  shown = 0;
  $("candidates").hidden = true;
  notes(found.looks?.[0]?.not_understood ?? []);
  showEntry();
  scrollTo({ top: 0 });
}

async function openFile(file) {
  await settle();
  try {
    const found = await post("/api/open", file);
    if (found.prompt) $("prompt").value = found.prompt;
    plan.prompt = found.prompt || $("prompt").value.trim();
    plan.show(found);
    plan.modelText = found.chain;
    entry = null;
    showEntry();
    $("error").hidden = true;
  } catch (error) {
    fail(error);
  }
}

// -- wiring ------------------------------------------------------------------------------------------

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  write();
});
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    write();
  }
});
$("prompt").addEventListener("input", () => { plan.prompt = $("prompt").value.trim(); }); // what is asked next is asked for it
$("prompt").addEventListener("change", () => plan.setPrompt($("prompt").value.trim()));
for (const button of document.querySelectorAll(".example")) {
  button.addEventListener("click", () => {
    $("prompt").value = button.textContent;
    write();
  });
}
$("ask").addEventListener("invalid", (event) => {
  const folded = event.target.closest("details");
  if (folded) folded.open = true; // a browser says nothing at a place that cannot be seen
}, true);
$("draw-image").addEventListener("click", draw);
$("cancel").addEventListener("click", () => abort?.abort());
$("undo").addEventListener("click", () => plan.undo());
$("redo").addEventListener("click", () => plan.redo());
$("reset").addEventListener("click", () => plan.setText(plan.modelText));
$("mend").addEventListener("click", mend);
$("add").addEventListener("click", () => canvas.add("object", [300, 300, 700, 700]));
$("snap").addEventListener("change", () => (canvas.snap = $("snap").checked));
$("under").addEventListener("change", () => {
  canvas.setPicture(entry && $("under").checked ? picture(entry.name, shown) : null);
});
$("show-found").addEventListener("change", () => {
  canvas.showFound = $("show-found").checked;
  canvas.draw();
});
$("slide").addEventListener("input", slide);
$("judge")?.addEventListener("click", judge);
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(entry.command);
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy the command"), 1500);
});
$("older").hidden = true;
$("file").addEventListener("change", () => $("file").files[0] && openFile($("file").files[0]));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const file = event.dataTransfer.files[0];
  if (file) openFile(file);
});

plan.changed();
listHistory().catch(fail);
