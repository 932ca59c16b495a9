// A result as a picture: bars, lines or a heat map. The table beside it says the same to those who do not see it.
import { count, html, short, useState } from "./parts.js";
import { LINES, Lines } from "./lines.js";

const full = (value) => (value === null ? "none" : Math.abs(value) < 1e15 ? value.toLocaleString("en") : String(value));

function Bars({ of, ask }) {
  const most = Math.max(...of.bars.map((bar) => bar.value ?? 0), 1e-9);
  const label = `Bars: ${of.measure.name} by ${of.of}; the first is ${of.bars[0].label} with ${full(of.bars[0].value)}`;
  return html`<div class="bars" role="img" aria-label=${label}>
    ${of.bars.map((bar) => html`<div class="bar" key=${bar.label} title=${`${bar.label}: ${full(bar.value)}`} onClick=${() => ask(bar.row, of.measure.name)}>
      <span class="of">${bar.label}</span>
      <span class="track"><span class="fill" style=${{ width: `${Math.max(0, ((bar.value ?? 0) / most) * 100)}%` }}></span></span>
      <span class="value">${bar.value === null ? "–" : short(bar.value)}${bar.count === null ? "" : html`<small> of ${count(bar.count)}</small>`}</span>
    </div>`)}
  </div>`;
}

function LinesOf({ of }) {
  const [at, show] = useState(null);
  const index = at === null || at >= of.x.length ? of.x.length - 1 : at;
  const moment = (x) => (x === undefined ? "" : of.dates ? new Date(x * 1000).toISOString().slice(0, of.time.type === "date" ? 10 : 16).replace("T", " ") : String(x));
  const label = `Lines: ${of.measure.name} by ${of.time.name}, from ${moment(of.x[0])} to ${moment(of.x[of.x.length - 1])}`;
  return html`<${Lines} x=${of.x} lines=${of.lines} time=${of.dates ? "utc" : false} label=${label} show=${show} />
    <ul class="legend" aria-hidden="true">
      <li class="at">${of.time.name} ${moment(of.x[index])}</li>
      ${of.lines.map((line, number) => html`<li key=${line.label}><span class="swatch" style=${{ background: `var(${LINES[number]})` }}></span>${line.label} <b>${line.values[index] === null || line.values[index] === undefined ? "–" : short(line.values[index])}</b></li>`)}
    </ul>`;
}

function Heat({ of, ask }) {
  const values = of.lines.flatMap((line) => line.cells.map((cell) => cell.value ?? 0));
  const most = Math.max(...values, 1e-9);
  const label = `Heat map: ${of.measure.name} by ${of.down.name} and ${of.across.name}, up to ${full(most)}`;
  return html`<div class="heat" role="img" aria-label=${label} style=${{ gridTemplateColumns: `minmax(56px, max-content) repeat(${of.heads.length}, minmax(0, 1fr))`, "--high": of.lines.length < 11 ? "30px" : "15px" }}>
    ${of.lines.map((line) => [
      html`<span class="of" key=${line.label} title=${line.label}>${line.label}</span>`,
      ...line.cells.map((cell, index) => html`<span key=${`${line.label}\u0000${of.heads[index]}`} class=${cell.row ? "cell" : "hole"}
        title=${`${line.label}, ${of.heads[index]}: ${full(cell.value)}`} onClick=${cell.row ? () => ask(cell.row, of.measure.name) : null}>
        <span style=${{ opacity: cell.value === null ? 0 : 0.06 + 0.94 * Math.max(0, cell.value / most) }}></span></span>`),
    ])}
    <span key="corner"></span>${of.heads.map((head) => html`<span class=${`head ${of.heads.length > 5 ? "upright" : ""}`} key=${`head ${head}`} title=${String(head)}>${String(head)}</span>`)}
  </div>`;
}

/** What is left out. */
function left(of) {
  if (of.kind === "bars" && of.total > of.bars.length) return `${of.bars.length} of ${count(of.total)} rows, those with the most`;
  if (of.kind === "lines" && of.total > of.lines.length) return `${of.lines.length} of ${count(of.total)}, those with the most`;
  if (of.kind === "heat" && of.totals[0] + of.totals[1] > of.lines.length + of.heads.length) {
    return `${of.lines.length} of ${count(of.totals[0])} × ${of.heads.length} of ${count(of.totals[1])}, those with the most`;
  }
  return "";
}

/** The picture of a plan, with the choice of what it shows. */
export function Picture({ of, ask, wish }) {
  if (!of) return html`<p class="blank">There is no number to draw here.</p>`;
  const { measures, measure, slices } = of;
  return html`<figure class="picture" data-kind=${of.kind}>
    <figcaption>
      ${measures.length > 1
        ? html`<label><span class="unseen">Column in the picture</span><select value=${measure.name} onChange=${(event) => wish({ measure: event.target.value })}>
            ${measures.map((column) => html`<option key=${column.name} value=${column.name} selected=${column === measure}>${column.name}</option>`)}</select></label>`
        : html`<span>${measure.name}</span>`}
      ${slices && html`<label>${slices.column.name} <select value=${String(slices.chosen)} onChange=${(event) => wish({ slice: event.target.value })}>
          ${slices.values.map((value) => html`<option key=${String(value)} value=${String(value)} selected=${value === slices.chosen}>${String(value)}</option>`)}</select></label>`}
      <span class="note">${left(of)}</span>
    </figcaption>
    ${of.kind === "bars" && html`<${Bars} of=${of} ask=${ask} />`}
    ${of.kind === "lines" && html`<${LinesOf} of=${of} />`}
    ${of.kind === "heat" && html`<${Heat} of=${of} ask=${ask} />`}
  </figure>`;
}
