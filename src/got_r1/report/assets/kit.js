// One item at a time, rated by keys or buttons, kept by `store`, handed over as CSV.
"use strict";

const $ = (id) => document.getElementById(id);
const kit = JSON.parse($("kit").textContent);
const questions = [...document.querySelectorAll("fieldset")];
const names = questions.map((one) => one.dataset.question);
const [low, high] = kit.scale;

// Where ratings are kept. A page that comes from a server sets `ratingStore` before this script.
const store = globalThis.ratingStore ?? {
  key: `got-r1 ratings ${kit.study} ${kit.rater}`,
  where: "Your ratings are kept in this browser as you go: you may close the page and open it again.",
  lost: "Your ratings cannot be kept here: download them before you close the page, and continue from the file later.",
  done: "Every item is rated in full; download your ratings below.",
  retry: 0, // seconds after which a save that failed is tried again; 0: with the next change
  async load() { return JSON.parse(localStorage.getItem(this.key)); },
  async save(state) { localStorage.setItem(this.key, JSON.stringify(state)); },
  // Another tab with the same page has saved something.
  watch(changed) { addEventListener("storage", (event) => { if (event.key === this.key) changed(); }); },
};

// -- the state: {at: index, ratings: {id: {question: score or null, comment}}, seconds: {id: number}}

let state = { at: 0, ratings: {}, seconds: {} };
let active = 0; // the question that number keys rate
let kept = true; // whether the last save succeeded
let isLoaded = false; // what could not be read is not overwritten
let unsaved = false; // whether something changed since the last save was begun
let saving = false;
let retrying = 0; // the timer of the next try
const past = []; // earlier states as JSON, for undo

const item = () => kit.items[state.at];
const blank = () => ({ ...Object.fromEntries(names.map((name) => [name, null])), comment: "" });
const rating = (id) => state.ratings[id] ?? blank();
const count = (id) => names.filter((name) => rating(id)[name] !== null).length;
const isFull = (id) => count(id) === names.length;
const isScore = (value) => Number.isInteger(value) && value >= low && value <= high;

// Of what was stored, that which fits this page.
function sanitized(ratings) {
  const sane = {};
  for (const { id } of kit.items) {
    const given = ratings?.[id];
    if (!given) continue;
    sane[id] = blank();
    for (const name of names) if (isScore(given[name])) sane[id][name] = given[name];
    sane[id].comment = String(given.comment ?? "");
  }
  return sane;
}

function adopt(stored) {
  state.ratings = sanitized(stored.ratings);
  state.seconds = { ...stored.seconds };
  if (kit.items[stored.at]) state.at = stored.at;
}

// One save at a time, and the newest state next: what changed meanwhile is one more.
async function save() {
  unsaved = true;
  if (saving) return;
  saving = true;
  while (unsaved) {
    unsaved = false;
    try {
      if (isLoaded) await store.save(structuredClone(state));
      kept = isLoaded;
    } catch {
      kept = false;
      if (store.retry) retrying ||= setTimeout(() => { retrying = 0; save(); }, 1000 * store.retry);
      break;
    }
  }
  saving = false;
  showKept();
}

function remember() {
  past.push(JSON.stringify({ at: state.at, ratings: state.ratings }));
  if (past.length > 200) past.shift();
}

function undo() {
  if (!past.length) return;
  spend();
  Object.assign(state, JSON.parse(past.pop()));
  save();
  show("Undone.");
}

function rate(question, score) {
  remember();
  const { id } = item();
  state.ratings[id] = { ...rating(id), [names[question]]: score };
  active = question;
  if (score !== null) {
    const open = names.findIndex((name) => rating(id)[name] === null);
    if (open >= 0) active = open;
  }
  spend();
  save();
  show();
  reveal();
}

function mark(question) {
  active = Math.min(names.length - 1, Math.max(0, question));
  show();
  reveal();
}

function go(index) {
  if (!kit.items[index]) return;
  spend();
  state.at = index;
  active = Math.max(0, names.findIndex((name) => rating(item().id)[name] === null));
  save();
  show();
  scrollTo(0, 0);
}

function goToUnrated() {
  const order = kit.items.map((_, step) => (state.at + 1 + step) % kit.items.length);
  const next = order.find((index) => !isFull(kit.items[index].id));
  if (next === undefined) show();
  else go(next);
}

// -- time: what is spent on an item, pauses of more than two minutes left out

let since = performance.now();

function spend() {
  const seconds = (performance.now() - since) / 1000;
  since = performance.now();
  if (seconds < 120) state.seconds[item().id] = (state.seconds[item().id] ?? 0) + seconds;
}

// Of the items that are left, in words; empty before three are rated.
function timeLeft(left) {
  const spent = kit.items.filter(({ id }) => isFull(id) && state.seconds[id]).map(({ id }) => state.seconds[id]);
  if (spent.length < 3 || !left) return "";
  const median = spent.sort((a, b) => a - b)[Math.floor(spent.length / 2)];
  const minutes = Math.ceil((median * left) / 60);
  return minutes < 90 ? `, about ${minutes} min left` : `, about ${Math.round(minutes / 60)} hours left`;
}

// -- the page

function show(message = "") {
  const { id, prompt, text, plan, picture, tiny } = item();
  $("place").textContent = `Item ${state.at + 1} of ${kit.items.length}`;
  $("prompt").textContent = prompt;
  $("text").replaceChildren(...text.map(({ text, color }) => {
    if (color === undefined) return text;
    const name = document.createElement("b");
    name.textContent = text;
    name.style.backgroundColor = color;
    return name;
  }));
  if ($("plan").getAttribute("src") !== plan) $("plan").src = plan;
  if ($("picture").getAttribute("src") !== picture) $("picture").src = picture;
  $("picture").classList.toggle("tiny", tiny);
  questions.forEach((question, index) => {
    question.classList.toggle("active", index === active);
    const given = rating(id)[names[index]];
    for (const button of question.querySelectorAll("[data-score]"))
      button.setAttribute("aria-pressed", Number(button.dataset.score) === given);
  });
  if ($("comment").value !== rating(id).comment) $("comment").value = rating(id).comment;
  $("previous").disabled = state.at === 0;
  $("next").disabled = state.at === kit.items.length - 1;
  $("undo").disabled = !past.length;
  const full = kit.items.filter((one) => isFull(one.id)).length;
  const part = kit.items.filter((one) => count(one.id) && !isFull(one.id)).length;
  $("progress").max = kit.items.length;
  $("progress").value = full;
  $("progress-text").textContent =
    `${full} rated${part ? `, ${part} in part` : ""}${timeLeft(kit.items.length - full)}`;
  if (!message && !kept) message = store.lost;
  if (!message && !saving && full === kit.items.length) message = store.done;
  $("message").textContent = message;
  $("message").hidden = !message;
}

// After a save: whether it succeeded, and what was only to be said then.
function showKept() {
  $("kept").textContent = kept ? store.where : store.lost;
  $("kept").classList.toggle("problem", !kept);
  if (!kept || ["", store.lost].includes($("message").textContent)) show();
}

// The marked question, so that nothing is rated out of sight.
const reveal = () => questions[active].scrollIntoView({ block: "nearest" });

// -- CSV, as the study's sheets are

const formula = new RegExp(`^(?:${kit.formula})`); // what a spreadsheet would run gets an apostrophe
const escaped = (text) => (formula.test(text) ? `'${text}` : text);
const unescaped = (text) => (text.startsWith("'") && formula.test(text) ? text.slice(1) : text);
const cell = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;

function toCsv() {
  const rows = kit.items.map(({ id, prompt }) => {
    const given = rating(id);
    const row = { id, study: kit.study, rater: kit.rater, ...given, prompt: escaped(prompt), comment: escaped(given.comment) };
    return kit.columns.map((column) => cell(row[column])).join(",");
  });
  return [kit.columns.join(","), ...rows, ""].join("\n");
}

function parseCsv(text, delimiter) {
  const rows = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const row = rows.at(-1);
    if (text[i] === '"') {
      if (quoted && text[i + 1] === '"') row[row.length - 1] += text[(i += 1)];
      else quoted = !quoted;
    } else if (quoted || (text[i] !== delimiter && text[i] !== "\n")) row[row.length - 1] += text[i];
    else if (text[i] === delimiter) row.push("");
    else rows.push([""]);
  }
  return rows.filter((row) => row.some(Boolean));
}

// The ratings in a sheet. Throws an Error with a sentence where they are not this page's.
function fromCsv(text, file) {
  const plain = text.replace(/^\uFEFF/, "").replaceAll(/\r\n?/g, "\n");
  const header = (delimiter) => parseCsv(plain.split("\n", 1)[0], delimiter)[0] ?? [];
  const delimiter = [",", ";", "\t"].find((one) => ["id", ...names].every((name) => header(one).includes(name)));
  if (!delimiter) throw new Error(`${file} is no sheet of ratings: it lacks one of the columns id, ${names.join(", ")}.`);
  const ratings = {};
  parseCsv(plain, delimiter).slice(1).forEach((cells, index) => {
    const row = Object.fromEntries(header(delimiter).map((name, at) => [name, unescaped(cells[at] ?? "").trim()]));
    if (row.study && row.study !== kit.study) throw new Error(`${file} is a sheet of another study.`);
    if (row.rater && row.rater !== kit.rater) throw new Error(`${file} holds the ratings of ${row.rater}; this page is for ${kit.rater}.`);
    const id = row.id.padStart(item().id.length, "0"); // spreadsheets take 007 for a number
    if (!kit.items.some((one) => one.id === id)) throw new Error(`${file} rates an item ${row.id} in row ${index + 1}, which is not in this page.`);
    ratings[id] = { ...blank(), comment: row.comment ?? "" };
    for (const name of names.filter((one) => row[one])) {
      const score = Number(row[name].replace(",", "."));
      if (!isScore(score)) throw new Error(`${file} has ${row[name]} for ${name} of item ${id}, which is no whole number from ${low} to ${high}.`);
      ratings[id][name] = score;
    }
  });
  return ratings;
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([toCsv()], { type: "text/csv" }));
  link.download = `ratings-${kit.rater}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function upload() {
  const [file] = $("upload").files;
  if (!file) return;
  try {
    const given = fromCsv(await file.text(), file.name);
    remember();
    for (const [id, one] of Object.entries(given)) if (Object.values(one).some((value) => value !== null && value !== "")) state.ratings[id] = one;
    save();
    show(`${file.name} is taken; what it does not rate stays as it was.`);
  } catch (error) {
    show(error.message);
  }
  $("upload").value = ""; // so that the same file may be chosen again
}

// -- events

const keys = {
  ArrowLeft: () => go(state.at - 1),
  ArrowRight: () => go(state.at + 1),
  ArrowUp: () => mark(active - 1),
  ArrowDown: () => mark(active + 1),
  Backspace: () => rate(active, null),
  Delete: () => rate(active, null),
  n: goToUnrated,
  u: undo,
  t: () => rate(active, high),
};

addEventListener("keydown", (event) => {
  if (event.altKey) return;
  const isTyping = event.target.matches("textarea");
  if (isTyping && event.key === "Escape") event.target.blur();
  if (isTyping) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = event.ctrlKey || event.metaKey ? (key === "z" ? undo : null) : /^[0-9]$/.test(key) ? () => rate(active, Number(key)) : keys[key];
  if (!act) return;
  event.preventDefault();
  act();
});

questions.forEach((question, index) => {
  question.addEventListener("focusin", () => { if (active !== index) { active = index; show(); } });
  for (const button of question.querySelectorAll("[data-score]"))
    button.addEventListener("click", () => {
      const score = Number(button.dataset.score);
      rate(index, rating(item().id)[names[index]] === score ? null : score);
    });
});

let commented = false; // since the comment got the focus: one step of undo
$("comment").addEventListener("focus", () => { commented = false; });
$("comment").addEventListener("input", () => {
  if (!commented) remember();
  commented = true;
  const { id } = item();
  state.ratings[id] = { ...rating(id), comment: $("comment").value };
  save();
});
$("previous").addEventListener("click", () => go(state.at - 1));
$("next").addEventListener("click", () => go(state.at + 1));
$("unrated").addEventListener("click", goToUnrated);
$("undo").addEventListener("click", undo);
$("download").addEventListener("click", download);
$("upload").addEventListener("change", upload);
document.addEventListener("visibilitychange", () => { if (document.hidden) spend(); since = performance.now(); });
addEventListener("beforeunload", (event) => { if ((!kept || saving) && past.length) event.preventDefault(); });

async function start() {
  adopt({ ratings: kit.ratings });
  try {
    const stored = await store.load();
    isLoaded = true;
    if (stored) {
      adopt(stored);
      for (const one of document.querySelectorAll("details")) one.open = false; // read before
    }
  } catch {
    isLoaded = false;
  }
  go(state.at);
  store.watch?.(async () => { adopt({ ...(await store.load()), at: state.at }); show(); });
}

start();
