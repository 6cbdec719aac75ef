// Puts new content in a part of the page: what was open stays open, and what had the focus has it.
// That the page stands where it stood is the browser's (scroll anchoring).

export function keepingPlace(place, replace) {
  const open = new Map();
  for (const one of place.querySelectorAll("details[data-key]")) open.set(one.dataset.key, one.open);
  const active = place.contains(document.activeElement) ? document.activeElement : null;
  replace();
  for (const one of place.querySelectorAll("details[data-key]")) {
    if (open.has(one.dataset.key)) one.open = open.get(one.dataset.key);
  }
  const summary = active?.localName === "summary";
  const key = summary ? active.parentElement.dataset.key : active?.dataset.key;
  if (key) {
    const again = place.querySelector(`[data-key="${CSS.escape(key)}"]`);
    (summary ? again?.querySelector("summary") : again)?.focus({ preventScroll: true });
  }
}
