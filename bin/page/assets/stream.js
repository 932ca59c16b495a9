// Server-sent events by `fetch`, which, unlike EventSource, can send a token. Reconnects, and goes on where it ended.
import { ApiError, headers, parse, refusal } from "./api.js";

const SILENCE_MS = 40_000; // the server says something every 15 s
const WAITS_MS = [500, 1000, 2000, 4000];

/**
 * Follows a stream until the returned function is called. `take` gets each event as `{name, data}`, `report` gets
 * `null` when the stream is open and an ApiError when it is not; after a 404 nothing more comes.
 */
export function follow(path, take, report) {
  let stopped = false;
  let abort = new AbortController();
  let last = null;

  async function read() {
    const more = last === null ? { accept: "text/event-stream" } : { accept: "text/event-stream", "last-event-id": last };
    const answer = await fetch(path, { headers: headers(more), cache: "no-store", signal: abort.signal });
    if (!answer.ok) throw await refusal(answer);
    report(null);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const silence = setTimeout(() => abort.abort(), SILENCE_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      let from = Math.max(0, text.length - 1);
      text += value;
      for (let end; (end = text.indexOf("\n\n", from)) >= 0; from = 0) {
        const event = text.slice(0, end);
        text = text.slice(end + 2);
        if (stopped) return;
        const field = (name) => event.split("\n").find((line) => line.startsWith(name))?.slice(name.length);
        const data = field("data: ");
        if (data === undefined) continue;
        take({ name: field("event: "), data: parse(data) });
        last = field("id: ") ?? last;
      }
    }
  }

  (async () => {
    for (let failed = 0; !stopped; ) {
      const began = Date.now();
      try {
        await read();
        throw new ApiError(0, "the stream ended");
      } catch (error) {
        if (stopped) return;
        const known = error instanceof ApiError ? error : new ApiError(0, "nothing answers");
        report(known);
        if (known.status === 404) return;
      }
      failed = Date.now() - began > 10_000 ? 0 : Math.min(failed + 1, WAITS_MS.length - 1);
      await new Promise((wake) => setTimeout(wake, WAITS_MS[failed]));
      abort = new AbortController();
    }
  })();

  return () => {
    stopped = true;
    abort.abort();
  };
}
