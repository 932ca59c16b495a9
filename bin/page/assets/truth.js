// One sentence that says how far the answers can be trusted now, and what limits the run.
import { clock, count, duration, html, setToken, useEffect, useRef, useState } from "./parts.js";
import { engine, stateOf } from "./engine.js";

const LATE_S = 5;

/** `{tone, text}`: `ok`, `late` or `broken`, and the sentence. */
export function truth(known) {
  const { status, seen, problem } = known;
  const upTo = status?.commit > 0 ? `Exact up to commit ${count(status.commit)}` : "No commit yet";
  switch (stateOf(known)) {
    case "waiting":
      return { tone: "none", text: "Asking the engine" };
    case "token":
      return { tone: "none", text: "This engine asks for a token" };
    case "refused":
      return { tone: "broken", text: `${problem.message}${problem.hint ? `: ${problem.hint}` : ""}` };
    case "gone":
      return { tone: "broken", text: seen ? `The engine is gone: last seen ${clock(seen)}, retrying` : "No engine answers, retrying" };
    case "listing":
      return { tone: "late", text: "Starting" };
    case "replaying": {
      const { percent, eta_seconds: eta } = status.replay;
      return { tone: "late", text: `Replaying: ${Math.floor(percent)} %${eta === null ? "" : eta < 1 ? ", almost ready" : `, ready in ${duration(eta * 1000)}`}` };
    }
    default: {
      const lag = Math.max(0, ...status.partitions.map((partition) => partition.lag_seconds));
      const records = status.partitions.reduce((sum, partition) => sum + partition.lag_records, 0);
      const isGrowing = status.partitions.some((partition) => partition.trend === "growing" && partition.lag_seconds > LATE_S);
      if (status.phase === "catching up" || lag > LATE_S) {
        return { tone: "late", text: `${upTo}, ${duration(lag * 1000)} behind: ${count(records)} records wait${isGrowing ? ", and more each second" : ""}` };
      }
      const fresh = status.latency_ms.visible.p50;
      return { tone: "ok", text: fresh === null ? `${upTo}, and no record waits` : `${upTo}, ${duration(fresh)} behind` };
    }
  }
}

function TokenForm() {
  const [token, setText] = useState("");
  const send = (event) => {
    event.preventDefault();
    if (token.trim()) setToken(token.trim());
  };
  return html`<form class="token" onSubmit=${send}><label>Token with the scope read
    <input type="password" autocomplete="off" value=${token} onInput=${(event) => setText(event.target.value)} /></label>
    <button type="submit">Use it</button><span class="note">It is kept until this tab is closed.</span></form>`;
}

export function Truth() {
  const known = engine.use();
  const state = stateOf(known);
  const { tone, text } = truth(known);
  const { status } = known;
  const spoken = useRef({ state: null, text: "" });
  // read aloud when the state is another one, not once a second
  if (spoken.current.state !== `${state} ${tone}`) spoken.current = { state: `${state} ${tone}`, text };
  useEffect(() => {
    document.title = `${{ ok: "", late: "… ", broken: "! ", none: "" }[tone]}pinflow`;
  }, [tone]);
  const isReplay = state === "replaying" || state === "listing";
  const percent = status && isReplay ? status.replay.percent : 0;
  return html`<section class="truth" aria-label="State">
    <p class=${`sentence ${tone}`} data-state=${state}><span class="dot" aria-hidden="true"></span><span>${text}.</span></p>
    <p class="unseen" role="status" aria-live="polite">${spoken.current.text}</p>
    ${state === "token"
      ? html`<${TokenForm} />`
      : html`<p class="limits">${state === "gone" ? (status ? "The answers below are those of the last commit that was seen." : "Nothing is known yet.") : status ? html`<b>Bottleneck</b> ${status.bottleneck}` : " "}</p>`}
    <div class=${`progress ${isReplay ? "" : "hidden"}`} role=${isReplay ? "progressbar" : null} aria-label=${isReplay ? "Replay of history" : null}
      aria-valuemin=${isReplay ? 0 : null} aria-valuemax=${isReplay ? 100 : null} aria-valuenow=${isReplay ? Math.floor(percent) : null}><span style=${{ width: `${percent}%` }}></span></div>
    ${status?.last_error && state !== "gone" && html`<p class="last"><b>Last problem</b> ${status.last_error_at ? html`<time datetime=${status.last_error_at}>${clock(new Date(status.last_error_at))}</time>` : ""} ${status.last_error}</p>`}
  </section>`;
}
