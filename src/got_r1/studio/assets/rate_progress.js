// Reads the page anew every half minute, and keeps what stands there while the server is away.
"use strict";

setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
  } catch {
    // The next time.
  }
}, 30_000);
