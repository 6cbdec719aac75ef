// Without this script everything is visible; with it the page starts folded.
"use strict";

for (const button of document.querySelectorAll(".results button")) {
  const fold = (open) => {
    button.setAttribute("aria-expanded", open);
    for (const row of button.closest("tbody").querySelectorAll(".category")) row.hidden = !open;
  };
  fold(false);
  button.addEventListener("click", () => fold(button.getAttribute("aria-expanded") === "false"));
}

const galleries = [...document.querySelectorAll(".gallery")];
if (galleries.length > 1) {
  const slider = document.querySelector(".slider");
  const input = slider.querySelector("input");
  const show = (index) => {
    galleries.forEach((gallery, i) => { gallery.hidden = i !== index; });
    slider.querySelector("output").textContent = galleries[index].dataset.step;
  };
  input.addEventListener("input", () => show(Number(input.value)));
  // A link to a step or to one of its samples shows that step.
  const follow = () => {
    const target = document.getElementById(location.hash.slice(1));
    const linked = galleries.indexOf(target?.closest(".gallery"));
    if (linked < 0) return;
    input.value = linked;
    show(linked);
    target.scrollIntoView();
  };
  slider.hidden = false;
  show(Number(input.value));
  follow();
  window.addEventListener("hashchange", follow);
}

document.querySelector("#show-boxes")?.addEventListener("change", (event) => {
  document.querySelector("#samples").classList.toggle("bare", !event.target.checked);
});
