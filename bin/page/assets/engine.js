// The status of the run, asked for once a second, and its last minutes. Everything kept here is bounded.
import { asksToken, get } from "./api.js";
import { store } from "./hooks.js";
import { repeat } from "./hooks.js";

const EVERY_MS = 1000;
const POINTS = 600; // ten minutes
const PARTITIONS = 256;
const LAGS = 120; // two minutes
const GONE_MS = 1500; // a single request may fail

/** `{status, seen, problem, isFilled}`: the last status and when it came; the problem since then, if there is one. */
export const engine = store({ status: null, seen: null, problem: null, isFilled: false });

/** Latencies in milliseconds by second, oldest first: `time` and six lists beside it. */
export const series = { time: [], visible: [[], []], commit: [[], []], broker: [[], []] };

/** Lags in seconds by partition, oldest first. */
export const lags = new Map();

function remember(status) {
  const lists = [series.time, ...series.visible, ...series.commit, ...series.broker];
  const values = ["visible", "commit", "broker"].flatMap((name) => [status.latency_ms[name].p50 || null, status.latency_ms[name].p99 || null]);
  [Date.now() / 1000, ...values].forEach((value, index) => lists[index].push(value));
  if (series.time.length > POINTS) for (const list of lists) list.splice(0, list.length - POINTS);
  for (const { topic, partition, lag_seconds: lag } of status.partitions.slice(0, PARTITIONS)) {
    const name = `${topic}/${partition}`;
    if (!lags.has(name) && lags.size >= PARTITIONS) continue;
    const list = lags.get(name) ?? [];
    list.push(lag);
    if (list.length > LAGS) list.shift();
    lags.set(name, list);
  }
}

/** Begins to ask. */
export function watch() {
  let failing = null;
  return repeat(EVERY_MS, async () => {
    if (asksToken.get()) return;
    try {
      const status = await get("api/status", { limit: 5000 });
      failing = null;
      remember(status);
      engine.set({ status, seen: new Date(), problem: null, isFilled: status.commit > 0 });
    } catch (problem) {
      failing ??= Date.now();
      const { status, seen } = engine.get();
      if (problem.status !== 0 || seen === null || Date.now() - failing >= GONE_MS) engine.set({ status, seen, problem, isFilled: false });
    }
  });
}

/** What the run is doing: `waiting`, `gone`, `token`, `refused`, `listing`, `replaying`, `catching up`, `live`. */
export function stateOf({ status, problem }) {
  if (problem?.status === 401) return "token";
  if (problem && problem.status !== 0 && problem.status < 500) return "refused";
  if (problem) return "gone";
  return status ? status.phase : "waiting";
}
