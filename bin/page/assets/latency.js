// How long a record takes until it is visible, beside what the broker and PostgreSQL take of it.
import { Blank, duration, html, Section, Sheet } from "./parts.js";
import { engine, series } from "./engine.js";
import { Lines } from "./lines.js";

const PARTS = [
  ["visible", "Visible", "from a record's timestamp to its commit"],
  ["broker", "Broker", "a round trip"],
  ["commit", "Commit", "in PostgreSQL"],
];

export function Latency() {
  const { status } = engine.use();
  const of = (name) => status?.latency_ms[name];
  const lines = [
    { label: "p50", values: series.visible[0], color: "--line-1" },
    { label: "p99", values: series.visible[1], color: "--line-1", dash: [4, 4], width: 1.5 },
    { label: "broker", values: series.broker[0], color: "--line-2", width: 1.5 },
    { label: "commit", values: series.commit[0], color: "--line-3", width: 1.5 },
  ];
  const colors = { visible: "--line-1", broker: "--line-2", commit: "--line-3" };
  return html`<${Section} name="latency" title="Latency">
    <${Sheet} caption="Latency of the last minute" kind="latencies" heads=${["Last minute", "p50#", "p99#"]}>
      ${PARTS.map(([name, title, what]) => html`<tr key=${name}><th scope="row"><span class="swatch" style=${{ background: `var(${colors[name]})` }}></span>${title} <small>${what}</small></th>
        <td class="number">${duration(of(name)?.p50)}</td><td class="number">${duration(of(name)?.p99)}</td></tr>`)}<//>
    <div class="minutes">${lines.some((line) => line.values.some(Boolean))
      ? html`<${Lines} x=${series.time} lines=${lines} time=${true} unit=${duration} log=${true} height=${170} label="Latency over the last minutes, p50 as a line and p99 dashed" />`
      : html`<${Blank}>No record in the last minutes.<//>`}</div>
  <//>`;
}
