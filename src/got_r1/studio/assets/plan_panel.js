// What stands beside the canvas: the chain's text, the list of objects, and what holds of the plan.

import { $, element } from "./dom.js";

const TYPED = 150; // milliseconds after the last key before text is taken over

// Keeps the panel in step with the plan; returns `settle`, which takes over text typed just now.
export function planPanel(plan, canvas) {
  let typing = 0; // the timer of text that is being typed, and must not be replaced

  async function settle() {
    if (!typing) return;
    clearTimeout(typing);
    typing = 0;
    await plan.setText($("chain").value);
  }

  $("chain").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(settle, TYPED);
  });

  plan.addEventListener("change", () => {
    $("undo").disabled = !plan.canUndo;
    $("redo").disabled = !plan.canRedo;
    $("reset").disabled = !plan.modelText || plan.text === plan.modelText;
    $("mend").disabled = !plan.objects.length;
    if (!typing && $("chain").value !== plan.text) $("chain").value = plan.text;
    showProblem(plan);
    listObjects(plan, canvas);
    showWords(plan);
  });

  canvas.onNew = (index) => {
    listObjects(plan, canvas);
    const input = $("objects").children[index]?.querySelector("input");
    input?.focus();
    input?.select();
  };
  return settle;
}

function showProblem(plan) {
  const first = plan.growing ? null : plan.problems[0];
  $("problem").hidden = !first;
  $("chain").setAttribute("aria-invalid", String(Boolean(first)));
  if (!first) return;
  const near = plan.text.slice(first.at, first.at + 24);
  const button = element("button", { type: "button", textContent: `character ${first.at + 1}` });
  button.addEventListener("click", () => {
    $("chain").focus();
    $("chain").setSelectionRange(first.at, first.at + near.length);
  });
  $("problem").replaceChildren(`${first.what}, at `, button, near ? `: ${near}` : "");
}

// What holds between the selected box and the others, or between all, and what the prompt says to it.
function showWords(plan) {
  const words = plan.pairs
    .filter(({ of }) => plan.selected < 0 || of.includes(plan.selected))
    .map(({ of: [one, other], relations, iou }) => {
      const [a, b] = [plan.objects[one]?.name, plan.objects[other]?.name];
      const how = iou > 0 ? `overlaps (IoU ${iou.toFixed(2)})` : (relations[0] ?? "apart from");
      return element("li", { textContent: `${a} ${how} ${b}` });
    });
  const faults = plan.faults.map((text) => element("li", { className: "fault", textContent: text }));
  const verdict = plan.growing || !plan.objects.length || faults.length ? "" : VERDICTS[plan.asked];
  if (verdict) faults.push(element("li", { className: "verdict", textContent: verdict }));
  $("words").replaceChildren(...words, ...faults);
}

// By what could be read of the prompt, where the plan has no fault.
const VERDICTS = {
  read: "The plan is as the prompt asks, as far as it can be read.",
  unread: "What the prompt asks for cannot be read, so nothing is said of the plan.",
};

function listObjects(plan, canvas) {
  const list = $("objects");
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  if (focused?.tagName === "INPUT" && list.children.length === plan.objects.length) return; // a name is being typed
  const column = focused ? [...focused.parentElement.children].indexOf(focused) : -1;
  list.replaceChildren(...plan.objects.map((one, index) => row(plan, canvas, one, index)));
  // Who pressed a button by key goes on at the same one, which moves with its object.
  if (focused) (list.children[Math.max(0, plan.selected)]?.children[column] ?? $("add")).focus();
}

function row(plan, canvas, one, index) {
  const name = element("input", { value: one.name, ariaLabel: `name of object ${index + 1}` });
  name.addEventListener("change", () => canvas.rename(index, name.value.trim() || "object"));
  name.addEventListener("focus", () => plan.select(index));
  name.addEventListener("keydown", (event) => {
    if (event.key === "Escape") name.value = one.name;
    else if (event.key !== "Enter") return;
    event.preventDefault();
    name.blur(); // which renames it, where it was changed
    canvas.focus(index);
  });
  const button = (label, title, act, disabled = false) => {
    const made = element("button", { type: "button", textContent: label, title, disabled, ariaLabel: `${title}: ${one.name}` });
    made.addEventListener("click", () => {
      plan.selected = index;
      act();
    });
    return made;
  };
  return element(
    "li",
    { className: `color-${index % 8}${index === plan.selected ? " selected" : ""}` },
    name,
    button(one.locked ? "unlock" : "lock", one.locked ? "Unlock" : "Lock", () => canvas.lock(index)),
    button("copy", "Duplicate", () => canvas.duplicate(index)),
    button("↑", "Earlier, farther back", () => canvas.reorder(index, -1)),
    button("↓", "Later, nearer", () => canvas.reorder(index, 1)),
    button("×", "Delete", () => canvas.remove(index), one.locked),
  );
}
