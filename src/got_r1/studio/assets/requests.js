// What the pages ask of the server. Every request carries the page's token; a refusal is an Error
// whose message is a sentence for people.

const token = document.querySelector('meta[name="studio-token"]').content;

async function send(method, url, body, signal) {
  const raw = body instanceof Blob;
  const response = await fetch(url, {
    method,
    signal,
    headers: {
      "X-Studio-Token": token,
      ...(raw || body === undefined ? {} : { "Content-Type": "application/json" }),
    },
    body: raw ? body : body === undefined ? "" : JSON.stringify(body),
  });
  if (!response.ok) {
    const text = await response.text();
    let message = text.trim();
    try {
      message = JSON.parse(text).message ?? message;
    } catch {
      // Plain text is a message already.
    }
    throw new Error(message || `the server answered ${response.status}.`);
  }
  return response;
}

export async function get(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error((await response.json()).message);
  return response.json();
}

export async function post(url, body, signal) {
  return (await send("POST", url, body, signal)).json();
}

export async function remove(url) {
  return (await send("DELETE", url)).json();
}

// Runs a job and calls `seen` with each of its events; resolves to the last one.
export async function run(url, body, seen, signal) {
  const response = await send("POST", url, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the server ended before the work was done.");
    buffer += value;
    const parts = buffer.split("\n\n");
    buffer = parts.pop();
    for (const part of parts) {
      const event = JSON.parse(part.replace(/^data: /, ""));
      if (event.kind === "failed") throw new Error(event.message);
      seen(event);
      if (event.kind === "done") return event;
    }
  }
}
