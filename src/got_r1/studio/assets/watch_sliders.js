// Sliders over the steps of a run's galleries. At its end a slider follows the newest step.

export function addSliders(parts, load) {
  for (const slider of document.querySelectorAll("input[data-of]")) {
    const place = document.getElementById(slider.dataset.of);
    addSlider(slider, parts.find((part) => part.place === place), load);
  }
  for (const box of document.querySelectorAll("input[data-boxes]")) {
    const place = document.getElementById(box.dataset.boxes);
    box.addEventListener("change", () => place.classList.toggle("bare", !box.checked));
  }
}

function addSlider(slider, part, load) {
  const label = slider.parentElement;
  const output = label.querySelector("output");
  let steps = [];

  const go = (step) => {
    part.extra.step = step === steps.at(-1) ? "" : step;
    show(step);
    load(part);
  };
  const show = (step) => {
    output.textContent = step;
    slider.setAttribute("aria-valuetext", `step ${step}`);
  };

  slider.addEventListener("input", () => go(steps[Number(slider.value)]));
  part.place.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.prompt !== undefined) {
      part.extra.prompt = button.dataset.prompt;
      load(part);
    } else if (button?.dataset.to !== undefined) {
      go(button.dataset.to);
    }
  });
  part.place.addEventListener("replaced", () => {
    const content = part.place.querySelector("[data-steps]");
    steps = content.dataset.steps.split(" ").filter(Boolean);
    label.hidden = steps.length < 2;
    slider.max = Math.max(0, steps.length - 1);
    slider.value = steps.indexOf(content.dataset.step);
    show(content.dataset.step);
  });
}
