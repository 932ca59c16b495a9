// How far each partition is: the hand-over from the lake to Kafka, what the tables contain, and the lag with its trend.
import { Blank, count, duration, html, Section, Sheet } from "./parts.js";
import { engine, lags } from "./engine.js";

const ROWS = 64;
const LATE_S = 5;
const TRENDS = { growing: ["↗", "grows"], shrinking: ["↘", "shrinks"], steady: ["→", "steady"] };

function Spark({ values }) {
  const most = Math.max(1, ...values);
  const points = values.map((value, index) => `${96 - ((values.length - 1 - index) / 119) * 96},${22 - (Math.max(0, value) / most) * 20}`);
  return html`<svg class="spark" viewBox="0 0 96 24" aria-hidden="true"><path d=${points.length > 1 ? `M${points.join("L")}` : ""} /></svg>`;
}

/** What the lake covers, what Kafka holds, and how much of it the tables contain. */
function Track({ of }) {
  const end = Math.max(of.end, of.lake_end ?? 0, 1);
  const at = (offset) => `${(Math.max(0, Math.min(offset, end)) / end) * 100}%`;
  const lake = of.lake_end ?? 0;
  const inLake = Math.min(of.frontier ?? 0, lake);
  const label = `${of.lake_end === null ? "no lake" : `lake up to ${count(lake)}`}, Kafka from ${of.start === null ? "an unknown offset" : count(of.start)} to ${count(of.end)}, tables up to ${of.frontier === null ? "no offset" : count(of.frontier)}`;
  return html`<div class="offsets" role="img" aria-label=${label} title=${label}>
    <span class="lake" style=${{ width: at(lake) }}></span>
    ${of.start !== null && html`<span class="kafka" style=${{ left: at(of.start), width: `calc(${at(end)} - ${at(of.start)})` }}></span>`}
    ${inLake > 0 && html`<span class="done from-lake" style=${{ width: at(inLake) }}></span>`}
    ${(of.frontier ?? 0) > lake && html`<span class="done" style=${{ left: at(lake), width: `calc(${at(of.frontier)} - ${at(lake)})` }}></span>`}
    ${of.lake_end !== null && html`<span class="hand-over" style=${{ left: at(lake) }}></span>`}
  </div>`;
}

export function Lag() {
  const { status } = engine.use();
  const partitions = status?.partitions ?? [];
  const sorted = partitions.length > ROWS ? [...partitions].sort((a, b) => b.lag_seconds - a.lag_seconds).slice(0, ROWS) : partitions;
  const { percent, eta_seconds: eta } = status?.replay ?? {};
  return html`<${Section} name="lag" title="Lag">
    <p class="line"><span>History</span> ${status ? (percent >= 100 ? "read and committed" : html`<b>${percent.toFixed(1)} %</b> ${eta === null ? "" : `ready in ${duration(eta * 1000)}`}`) : "–"}</p>
    <${Sheet} caption="Lag by partition" kind="lags" heads=${["Partition", "Offsets", "Records#", "Lag#", "Two minutes"]}>
      ${sorted.map((of) => {
        const [sign, word] = TRENDS[of.trend] ?? ["", ""];
        const isLate = of.lag_seconds > LATE_S;
        return html`<tr key=${`${of.topic}/${of.partition}`}><th scope="row">${of.topic}/${of.partition}</th><td><${Track} of=${of} /></td>
          <td class="number">${count(of.lag_records)}</td>
          <td class=${`number ${isLate ? "is-late" : ""}`}>${duration(of.lag_seconds * 1000)} <span class="trend" title=${word} aria-hidden="true">${of.lag_records > 0 || isLate ? sign : ""}</span><span class="unseen">${word}</span></td>
          <td><${Spark} values=${lags.get(`${of.topic}/${of.partition}`) ?? []} /></td></tr>`;
      })}<//>
    ${!partitions.length && html`<${Blank}>No partition is known yet.<//>`}
    ${partitions.length > ROWS && html`<p class="note">${ROWS} of ${count(partitions.length)}, those that are furthest behind.</p>`}
    <ul class="legend" aria-hidden="true"><li><span class="swatch lake"></span>in the lake</li><li><span class="swatch kafka"></span>in Kafka</li><li><span class="swatch done"></span>in the tables</li><li><span class="swatch hand-over"></span>hand-over</li></ul>
  <//>`;
}
