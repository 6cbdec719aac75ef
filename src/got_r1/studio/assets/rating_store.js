// Where the studio's rater's page keeps its ratings: on the server. A save sends what has changed
// since the last one that the server answered, so a save that fails is part of the next.
"use strict";

globalThis.ratingStore = (() => {
  const named = (name) => document.querySelector(`meta[name="${name}"]`).content;
  const url = named("rating-state");
  const blank = { semantic: null, spatial: null, quality: null, comment: "" };
  const most = 60_000; // bytes that a browser still sends after the page is closed
  const patience = 20_000; // milliseconds; a save without an answer until then is sent again
  let known = { ratings: {}, seconds: {}, at: null }; // what the server has

  const sendable = (text) => text.toWellFormed().slice(0, 10_000).toWellFormed();
  const seconds = (state, id) => Math.round(10 * (state.seconds[id] ?? 0)) / 10;

  function changes(state) {
    const items = {};
    const ids = new Set([state, known].flatMap((one) => [...Object.keys(one.ratings), ...Object.keys(one.seconds)]));
    for (const id of ids) {
      const [now, before] = [state, known].map((one) => ({ ...blank, ...one.ratings[id], seconds: seconds(one, id) }));
      const changed = Object.keys(now).filter((name) => now[name] !== before[name]);
      if (changed.length) items[id] = Object.fromEntries(changed.map((name) => [name, name === "comment" ? sendable(now.comment) : now[name]]));
    }
    return { at: state.at, items };
  }

  async function asked(response) {
    if (!response.ok) throw new Error(`the server answered ${response.status}.`);
    return response.json();
  }

  return {
    where: "Your ratings are kept on the server as you go: you may close the page and open your link again.",
    lost: "The server does not answer. What you rate is kept in this page and sent as soon as it does: leave the page open, or download your ratings.",
    done: "Every item is rated in full. Thank you: your ratings are on the server.",
    retry: 3,
    async load() {
      const stored = await asked(await fetch(url, { signal: AbortSignal.timeout(patience) }));
      if (stored) known = structuredClone(stored);
      return stored;
    },
    async save(state) {
      const sent = structuredClone(state);
      const body = JSON.stringify(changes(sent));
      await asked(await fetch(url, {
        method: "POST",
        keepalive: body.length < most / 3, // a character has at most three bytes
        headers: { "X-Studio-Token": named("studio-token"), "Content-Type": "application/json" },
        body,
        signal: AbortSignal.timeout(patience),
      }));
      known = sent;
    },
  };
})();
