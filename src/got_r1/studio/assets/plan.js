// The plan that is being edited: its text, its objects, and what was before. Text and objects are two
// views of one plan, and the server alone translates between them; whichever was changed last is
// sent, and answers that have been overtaken are dropped.

import { post } from "./requests.js";

const MOST_STEPS = 200;

export class Plan extends EventTarget {
  prompt = "";
  text = "";
  prose = "";
  objects = [];
  problems = [];
  pairs = [];
  faults = [];
  asked = ""; // whether the prompt could be "read", or is "unread"; empty where there is none
  growing = false; // while the model writes it
  selected = -1;
  modelText = ""; // what the model wrote, to go back to
  #past = [];
  #future = [];
  #asked = 0;

  get canUndo() { return this.#past.length > 0; }
  get canRedo() { return this.#future.length > 0; }

  // -- changes ----------------------------------------------------------------------------------

  // A new plan from the server (`view`), which can be undone unless it still grows. Its boxes are
  // free, unless they are the ones that are here (`keepLocks`).
  show(view, { growing = false, keepLocks = false } = {}) {
    if (!growing) this.#remember();
    this.growing = growing;
    this.#asked += 1;
    if (!keepLocks) this.objects = this.objects.map((one) => ({ ...one, locked: false }));
    this.#take(view, { always: true });
  }

  // The model writes no more; what it has written stays.
  stop() {
    this.growing = false;
    this.changed();
  }

  // The objects as a person has changed them, with the prose around them (empty: made anew);
  // `final` once a drag has ended.
  async setObjects(objects, { prose = this.prose, final = true } = {}) {
    if (final) this.#remember();
    this.growing = false;
    this.objects = objects;
    this.selected = Math.min(this.selected, objects.length - 1);
    this.changed();
    if (!final) return;
    if (!objects.length) {
      this.text = this.prose = "";
      this.problems = this.pairs = this.faults = [];
      this.changed();
      return;
    }
    await this.#ask("/api/boxes", {
      prompt: this.prompt,
      prose,
      objects: objects.map(({ name, box, depth, time }) => ({ name, box, depth, time })),
    });
  }

  // The chain's text as a person has changed it. Where it is malformed the objects stay.
  async setText(text) {
    this.#remember();
    this.growing = false;
    this.text = text;
    await this.#ask("/api/text", { prompt: this.prompt, chain: text });
  }

  async setPrompt(prompt) {
    this.prompt = prompt;
    if (this.text) await this.#ask("/api/text", { prompt, chain: this.text });
  }

  select(index) {
    if (index === this.selected) return;
    this.selected = index;
    this.changed();
  }

  undo() { this.#step(this.#past, this.#future); }
  redo() { this.#step(this.#future, this.#past); }

  changed() { this.dispatchEvent(new Event("change")); }

  // -- parts ------------------------------------------------------------------------------------

  #state() {
    const { text, prose, objects, problems, pairs, faults, asked } = this;
    return { text, prose, objects, problems, pairs, faults, asked };
  }

  #remember() {
    const state = this.#state();
    if (this.#past.at(-1)?.text === state.text && this.#past.at(-1)?.objects === state.objects) return;
    this.#past.push(state);
    if (this.#past.length > MOST_STEPS) this.#past.shift();
    this.#future = [];
  }

  #step(from, to) {
    const state = from.pop();
    if (!state) return;
    to.push(this.#state());
    this.#asked += 1;
    Object.assign(this, state);
    this.selected = Math.min(this.selected, this.objects.length - 1);
    this.changed();
  }

  async #ask(url, body) {
    const number = ++this.#asked;
    try {
      const view = await post(url, body);
      if (number === this.#asked) this.#take(view, { always: url === "/api/boxes" });
    } catch (error) {
      if (number !== this.#asked) return;
      this.problems = [{ what: error.message, at: 0 }];
      this.changed();
    }
  }

  #take(view, { always }) {
    this.problems = view.problems;
    this.faults = view.faults;
    this.asked = !this.prompt ? "" : view.read ? "read" : "unread";
    if (always || !view.problems.length) {
      // Locks belong to boxes, by their place in the plan.
      const locked = this.objects.map((one) => one.locked);
      this.objects = view.objects.map((one, index) => ({ ...one, locked: locked[index] ?? false }));
      this.pairs = view.pairs;
      this.prose = view.prose;
    }
    if (always) this.text = view.chain;
    this.selected = Math.min(this.selected, this.objects.length - 1);
    this.changed();
  }
}
