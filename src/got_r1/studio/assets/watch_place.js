// Puts new content in a part of the page without moving the reader: what was open stays open, what
// had the focus has it, and the page stands where it stood.

export function keepingPlace(place, replace) {
  const open = new Map();
  for (const one of place.querySelectorAll("details[data-key]")) open.set(one.dataset.key, one.open);
  const active = place.contains(document.activeElement) ? document.activeElement : null;
  const { scrollX, scrollY } = window;
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
  if (window.scrollX !== scrollX || window.scrollY !== scrollY) window.scrollTo(scrollX, scrollY);
}
