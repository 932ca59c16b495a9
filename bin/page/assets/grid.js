// A table of any number of rows: only those in view are in the document. Cells that changed fade; the keyboard moves
// through cells, and Enter asks why.
import { cell, html, isNumber, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./parts.js";
import { isPlace } from "./order.js";

const SAMPLE = 400;
const SPARE = 6; // rows above and below those in view
/** Heights in pixels. */
const ROW = matchMedia("(pointer: coarse)").matches ? 40 : 30;
const HEAD = 46;
const BREAK = "_\u200b"; // a name may go on in the next line behind an underscore

/** Widths in characters, from the head and some rows; they stay while rows change, so that nothing jumps. */
function widthsOf(rows, ids) {
  return rows.columns.map((column) => {
    const step = Math.max(1, Math.floor(ids.length / SAMPLE));
    const lengths = [];
    for (let at = 0; at < ids.length; at += step) {
      const row = rows.byId.get(ids[at]);
      if (row) lengths.push(cell(row[column.name], column).length + (isPlace(column) ? 3 : 0));
    }
    // some long ones are cut off
    const most = lengths.sort((a, b) => a - b)[Math.floor(lengths.length * 0.9)] ?? 0;
    const head = Math.max(...column.name.split("_").map((part) => part.length), column.name.length / 2) + 2;
    return Math.min(Math.max(Math.ceil(head), most, 5), 22) + 3;
  });
}

export function Grid({ name, rows, ids, ties, order, reorder, ask, stale }) {
  const box = useRef(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(400);
  const [active, setActive] = useState({ row: 0, column: 0 });
  const wantsFocus = useRef(false);
  const widths = useMemo(() => widthsOf(rows, ids), [rows, rows.whole, ids.length > 0]);

  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setHeight(entry.contentRect.height));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);

  const at = { row: Math.max(0, Math.min(active.row, ids.length - 1)), column: active.column };
  useLayoutEffect(() => {
    if (!wantsFocus.current) return;
    wantsFocus.current = false;
    box.current.querySelector("[data-active]")?.focus({ preventScroll: true });
  });

  const first = Math.max(0, Math.floor(top / ROW) - SPARE);
  const last = Math.min(ids.length, Math.ceil((top + height) / ROW) + SPARE);
  const shown = [];
  for (let index = first; index < last; index += 1) shown.push(index);
  // the cell that has the focus stays in the document
  if (ids.length && at.row < first) shown.unshift(at.row);
  if (ids.length && at.row >= last) shown.push(at.row);

  function move(event) {
    const page = Math.max(1, Math.floor(height / ROW) - 2);
    const moves = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      PageUp: [-page, 0],
      PageDown: [page, 0],
      Home: event.ctrlKey ? [-Infinity, 0] : [0, -Infinity],
      End: event.ctrlKey ? [Infinity, 0] : [0, Infinity],
    };
    if (!event.target.matches("td")) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      ask(rows.byId.get(ids[at.row]), rows.columns[at.column].name);
      return;
    }
    const step = moves[event.key];
    if (!step) return;
    event.preventDefault();
    const row = Math.max(0, Math.min(ids.length - 1, at.row + step[0]));
    const column = Math.max(0, Math.min(rows.columns.length - 1, at.column + step[1]));
    const area = box.current;
    const from = row * ROW;
    if (from < area.scrollTop) area.scrollTop = from;
    else if (from + ROW > area.scrollTop + area.clientHeight - HEAD) area.scrollTop = from + ROW - area.clientHeight + HEAD;
    wantsFocus.current = true;
    setTop(area.scrollTop);
    setActive({ row, column });
  }

  const pad = (from, to, key) =>
    to > from ? html`<tr key=${key} aria-hidden="true" style=${{ height: `${(to - from) * ROW}px` }}><td class="pad"></td></tr>` : null;
  const lines = [];
  let end = 0;
  for (const index of shown) {
    lines.push(pad(end, index, `pad ${lines.length}`));
    lines.push(line(index));
    end = index + 1;
  }
  lines.push(pad(end, ids.length, "end"));

  function line(index) {
    const id = ids[index];
    const row = rows.byId.get(id);
    if (!row) return null;
    return html`<tr key=${id} aria-rowindex=${index + 2} style=${{ height: `${ROW}px` }}>
      ${rows.columns.map((column, number) => {
        const ago = rows.changedAgo(id, column.name);
        const isActive = at.row === index && at.column === number;
        const text = cell(row[column.name], column);
        const tie = isPlace(column) ? (ties.get(id) ?? "") : "";
        return html`<td key=${column.name} tabindex=${isActive ? 0 : -1} data-active=${isActive ? "" : null}
            class=${`${isNumber(column) ? "number" : ""} ${row[column.name] === null ? "null" : ""}`}
            onClick=${() => {
              setActive({ row: index, column: number });
              ask(row, column.name);
            }} title=${text.length > 24 ? text : null}>
          <span key=${ago === null ? "" : text} class=${ago === null ? "" : "changed"}
            style=${ago === null ? null : { animationDelay: `-${ago}ms` }}>${text}${
              isPlace(column)
                ? html`<span class="tie" title=${tie && `${tie} share this place`}>${tie && "="}</span>`
                : null
            }</span>
        </td>`;
      })}
    </tr>`;
  }

  const sorted = (column) => order.find((by) => by.column.name === column.name);
  return html`<div class=${`grid ${stale ? "stale" : ""}`} ref=${box} style=${{ height: `${HEAD + ids.length * ROW + 2}px` }} onScroll=${(event) => setTop(event.currentTarget.scrollTop)} onKeyDown=${move}>
    <table role="grid" aria-rowcount=${ids.length + 1}
      style=${{ minWidth: `${widths.reduce((sum, width) => sum + width, 0)}ch` }}>
      <caption class="unseen">${name}: Enter on a cell shows why</caption>
      <colgroup>${widths.map((width) => html`<col style=${{ width: `${width}ch` }} />`)}</colgroup>
      <thead><tr aria-rowindex="1">${rows.columns.map((column) => {
        const by = sorted(column);
        return html`<th key=${column.name} scope="col" class=${isNumber(column) ? "number" : ""}
            aria-sort=${by ? (by.down ? "descending" : "ascending") : "none"}>
          <button type="button" title=${column.comment || column.type} onClick=${() => reorder(column)}>${column.name.replaceAll("_", BREAK)}${by && html`<span class="arrow" aria-hidden="true"> ${by.down ? "↓" : "↑"}</span>`}</button>
        </th>`;
      })}</tr></thead>
      <tbody>${lines}</tbody>
    </table>
  </div>`;
}
