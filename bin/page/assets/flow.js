// The dataflow as a graph: an edge is as wide as records pass, an operator as full as it is busy, and says its state.
import { Blank, bytes, get, html, Section, Sheet, short, useRepeat, useState } from "./parts.js";

const EVERY_MS = 2000;
const [WIDE, HIGH, ACROSS, DOWN] = [180, 46, 44, 12];
const WIDEST = 12;

/** The graph without its results: each is the end of an operator that has its name, and passes its changes on. */
function folded({ operators, edges }) {
  const inputs = new Map(edges.map((edge) => [edge.to, edge.from]));
  const results = new Set(operators.filter((of) => of.kind === "result").map((of) => of.id));
  const sums = new Map();
  for (const edge of edges) {
    const from = results.has(edge.from) ? inputs.get(edge.from) : edge.from;
    if (results.has(edge.to) || results.has(from) || !from) continue;
    const id = `${from} ${edge.to}`;
    sums.set(id, { id, from, to: edge.to, rate: edge.records_per_second + (sums.get(id)?.rate ?? 0) });
  }
  return { operators: operators.filter((of) => !results.has(of.id)), edges: [...sums.values()] };
}

/** Places by stage; within one, operators stand by where their input comes from, so that few edges cross. */
function placed({ operators, edges }) {
  const stages = [];
  for (const of of operators) (stages[of.stage] ??= []).push(of);
  const at = new Map();
  const columns = stages.filter(Boolean);
  const tallest = Math.max(...columns.map((stage) => stage.length));
  columns.forEach((stage, column) => {
    const from = (of) => {
      const heights = edges.filter((edge) => edge.to === of.id && at.has(edge.from)).map((edge) => at.get(edge.from).y);
      return heights.length ? heights.reduce((sum, y) => sum + y, 0) / heights.length : 0;
    };
    const sorted = stage.map((of) => ({ of, y: from(of) })).sort((a, b) => a.y - b.y || (a.of.name < b.of.name ? -1 : 1));
    const room = (tallest - stage.length) * (HIGH + DOWN) / 2;
    sorted.forEach(({ of }, row) => at.set(of.id, { of, x: column * (WIDE + ACROSS), y: room + row * (HIGH + DOWN) }));
  });
  return { at, width: columns.length * (WIDE + ACROSS) - ACROSS, height: tallest * (HIGH + DOWN) - DOWN };
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const titleOf = (name) => [name.split(": ", 1)[0], name.split(": ").slice(1).join(": ")];

function Node({ of, x, y, workers }) {
  const [title, what] = titleOf(of.name);
  const busy = Math.min(1, of.busy / workers);
  return html`<g transform=${`translate(${x} ${y})`}><title>${of.name}: ${Math.round(busy * 100)} % busy, ${bytes(of.bytes)}</title>
    <rect class="node" width=${WIDE} height=${HIGH} rx="5" /><rect class="busy" width=${WIDE * busy} height=${HIGH} rx="5" />
    <text x="10" y="19">${cut(title, 24)}</text>
    <text class="small" x="10" y="36">${cut(what, 20)}</text>
    <text class="small end" x=${WIDE - 10} y="36">${of.bytes ? bytes(of.bytes) : ""}</text></g>`;
}

export function Flow() {
  const [flow, setFlow] = useState(null);
  useRepeat(EVERY_MS, () => get("api/dataflow").then(setFlow, () => {}), []);
  if (!flow?.operators.length) return html`<${Section} name="dataflow" title="Dataflow"><${Blank}>Not known yet.<//><//>`;
  const { operators, edges } = folded(flow);
  const { at, width, height } = placed({ operators, edges });
  const most = Math.max(1, ...edges.map((edge) => edge.rate));
  const path = (edge) => {
    const [a, b] = [at.get(edge.from), at.get(edge.to)];
    const [x1, y1, x2, y2] = [a.x + WIDE, a.y + HIGH / 2, b.x, b.y + HIGH / 2];
    const bend = Math.max(24, (x2 - x1) / 2);
    return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  };
  const name = (id) => at.get(id)?.of.name ?? id;
  return html`<${Section} name="dataflow" title="Dataflow">
    <div class="scroll graph" tabindex="0" role="region" aria-label="Graph of the dataflow">
      <svg style=${{ maxWidth: `${width + 2}px`, minWidth: `${width * 0.8}px` }} viewBox=${`-1 -1 ${width + 2} ${height + 2}`} role="img" aria-label=${`${operators.length} operators; the table below says the same`}>
        ${edges.map((edge) => html`<path key=${edge.id} class=${edge.rate > 0 ? "edge" : "edge idle"} d=${path(edge)}
          style=${{ strokeWidth: 1 + (WIDEST - 1) * Math.sqrt(edge.rate / most) }}><title>${short(edge.rate)} records per second</title></path>`)}
        ${[...at.values()].map((node) => html`<${Node} key=${node.of.id} workers=${flow.workers} ...${node} />`)}
      </svg></div>
    <p class="note">Over the last ${Math.round(flow.window_seconds)} s on ${flow.workers} ${flow.workers === 1 ? "worker" : "workers"}. Width: records per second, ${short(most)} at most. Fill: busy. Number: state.</p>
    <details><summary>As a table</summary><${Sheet} caption="Operators" heads=${["Operator", "Input from", "In, per second#", "Busy#", "State#"]}>
      ${operators.map((of) => {
        const inputs = edges.filter((edge) => edge.to === of.id);
        return html`<tr key=${of.id}><th scope="row">${of.name}</th><td>${inputs.map((edge) => name(edge.from)).join(", ")}</td>
          <td class="number">${inputs.length ? short(inputs.reduce((sum, edge) => sum + edge.rate, 0)) : ""}</td><td class="number">${(of.busy * 100).toFixed(1)} %</td><td class="number">${bytes(of.bytes)}</td></tr>`;
      })}<//></details>
  <//>`;
}
