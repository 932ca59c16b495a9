// The results: a list of all, and of one of them the rows and a picture, as they change.
import { Blank, count, get, go, html, place, Section, useEffect, useMemo, useRef, useRepeat, useState, whileVisible } from "./parts.js";
import { copy, csv } from "./csv.js";
import { engine, stateOf } from "./engine.js";
import { Grid } from "./grid.js";
import { arrange, naturalOrder, parseOrder, ties } from "./order.js";
import { Picture } from "./picture.js";
import { plan } from "./plan.js";
import { Rows } from "./rows.js";
import { follow } from "./stream.js";

const PACE = "200ms";
const LIST_MS = 5000;
const PAGE_MS = 5000;
const PAGE = 1000;
/** An order is looked at again so often; a large table less. */
const ORDER_MS = 600;
const LARGE_MS = 2000;
const LARGE = 10_000;

/** The results, their columns and sizes; asked for again and again. */
export function useTables(isFilled) {
  const [known, setKnown] = useState({ tables: null, problem: null });
  useRepeat(LIST_MS, async () => {
    if (!isFilled) return;
    // a commit is served a moment after the status knows of it
    const of = engine.get().status.partitions.find((partition) => partition.frontier > 0);
    await get(`api/results${of ? `?at_least=${encodeURIComponent(`${of.topic}/${of.partition}:${of.frontier - 1}`)}` : ""}`).then(
      ({ tables }) => setKnown({ tables, problem: null }),
      (problem) => setKnown(({ tables }) => ({ tables, problem })),
    );
  }, [isFilled]);
  return known;
}

/** The rows of a table, live. */
function useRows(table) {
  const [, draw] = useState(0);
  const [state, setState] = useState({ problem: null, part: null });
  const columns = JSON.stringify(table.columns.map((column) => [column.name, column.type, column.key]));
  const rows = useMemo(() => new Rows(table.columns), [table.table, columns]);
  const isLarge = table.served_from === "postgres";
  const frame = useRef(0);
  const soon = () => {
    frame.current ||= requestAnimationFrame(() => {
      frame.current = 0;
      draw((times) => times + 1);
    });
  };
  useEffect(() => whileVisible(() => {
    let stopped = false;
    let timer = null;
    const name = table.table;
    const take = ({ name: event, data }) => {
      const of = data.tables[name];
      if (event === "snapshot") rows.replace(of.rows, data.commit);
      else rows.apply(of, data.commit);
      soon();
    };
    // of a table that is too large for memory, there and here, the first rows are asked for
    const ask = async () => {
      try {
        const data = await get(`api/results/${encodeURIComponent(name)}?limit=${PAGE}`);
        if (stopped) return;
        rows.replace(data.rows, data.commit);
        setState({ problem: null, part: data.next ? PAGE : null });
      } catch (problem) {
        if (!stopped) setState({ problem, part: null });
      }
      timer = setTimeout(ask, PAGE_MS);
    };
    const stop = isLarge ? void ask() : follow(`api/changes?tables=${encodeURIComponent(name)}&pace=${PACE}`, take, (problem) => setState({ problem, part: null }));
    return () => {
      stopped = true;
      clearTimeout(timer);
      stop?.();
    };
  }), [rows, isLarge]);
  return { rows, ...state };
}

/** The ids in order; looked at again when rows come or go, and now and then when values change, never under the pointer. */
function useOrder(rows, search, order) {
  const held = useRef(false);
  const last = useRef({});
  const now = performance.now();
  const text = order.map((by) => `${by.column.name} ${by.down}`).join();
  const before = last.current;
  const every = rows.byId.size > LARGE ? LARGE_MS : ORDER_MS;
  const isOther = before.rows !== rows || before.search !== search || before.text !== text || before.whole !== rows.whole;
  const isDue = now - (before.at ?? 0) >= every && (before.shape !== rows.shape || (before.version !== rows.version && !held.current));
  // rows that went must not be shown, and small tables are arranged at once
  const isShort = before.shape !== rows.shape && rows.byId.size <= LARGE;
  if (isOther || isDue || isShort) {
    last.current = { rows, search, text, version: rows.version, shape: rows.shape, whole: rows.whole, at: now, ids: arrange(rows, search, order), ties: ties(rows) };
  }
  return { ids: last.current.ids, ties: last.current.ties, hold: (is) => (held.current = is) };
}

/** A value that is computed again at most every so many milliseconds. */
function useSometimes(compute, every, dependencies) {
  const last = useRef({ at: -Infinity });
  const now = performance.now();
  const isOther = !last.current.dependencies || dependencies.some((value, index) => value !== last.current.dependencies[index]);
  if (isOther || now - last.current.at >= every) last.current = { at: now, dependencies, value: compute() };
  return last.current.value;
}

/** A button that says for a moment what it did. */
export function Copy({ label, text }) {
  const [done, setDone] = useState(null);
  const press = async () => {
    setDone((await copy(text())) ? "Copied" : "Not allowed");
    setTimeout(() => setDone(null), 1500);
  };
  return html`<button type="button" class="quiet copy" onClick=${press}>${done ?? label}</button>`;
}

function Table({ table, ask }) {
  const view = place.use();
  const { rows, problem, part } = useRows(table);
  const state = stateOf(engine.use());
  const search = view.search ?? "";
  const order = parseOrder(view.order, table.columns);
  const { ids, ties: tied, hold } = useOrder(rows, search, order);
  const picture = useSometimes(() => plan(rows, ids, table.chart, view), rows.byId.size > LARGE ? LARGE_MS : ORDER_MS, [rows, rows.whole, search, view.measure, view.slice]);
  const reorder = (column) => {
    const shown = order.length ? order : naturalOrder(table.columns).slice(0, 1);
    const is = shown[0]?.column.name === column.name ? shown[0] : null;
    go({ order: is && !is.down ? `${column.name}.desc` : is?.down && order.length ? null : column.name });
  };
  const isThere = rows.commit !== null;
  const isGone = state === "gone" || (problem && problem.status === 0);
  const found = search ? `${count(ids.length)} of ${count(rows.byId.size)} rows` : `${count(rows.byId.size)} rows`;
  const asked = (row, column) => row && ask(table, row, column);
  return html`<div class="table" data-commit=${rows.commit} data-rows=${rows.byId.size}>
    <div class="about"><h3>${table.table}</h3><p>${table.comment}</p></div>
    <div class="tools">
      <input type="search" placeholder="Search rows" aria-label=${`Search rows of ${table.table}`} value=${search} onInput=${(event) => go({ search: event.target.value })} />
      <span class="note">${isThere ? `${found}${part ? `, the first ${count(part)}` : ""} · commit ${rows.commit}` : " "}</span>
      <span class="room"></span>
      <${Copy} label="Copy CSV" text=${() => csv(rows, ids)} />
    </div>
    <div class="both">
      <div class="half" onPointerEnter=${() => hold(true)} onPointerLeave=${() => hold(false)}>
        ${isThere && ids.length
          ? html`<${Grid} key=${table.table} name=${table.table} rows=${rows} ids=${ids} ties=${tied} order=${order.length ? order : naturalOrder(table.columns).slice(0, 1)}
              reorder=${reorder} ask=${asked} stale=${isGone} />`
          : html`<div class="grid empty"><p class="blank">${
              !isThere ? (problem && problem.status !== 0 ? `${problem.message}${problem.hint ? `: ${problem.hint}` : ""}` : "The rows are on their way.")
                : search ? `No row has “${search}”.` : "The table has no rows yet."}</p></div>`}
      </div>
      <div class="half drawn">${ids.length > 0 && html`<${Picture} of=${picture} ask=${asked} wish=${(parts) => go(parts)} />`}</div>
    </div>
  </div>`;
}

/** The section. `ask(table, row, column)` opens the question why. */
export function Answers({ tables, problem, ask }) {
  const view = place.use();
  const [search, setSearch] = useState("");
  if (!tables) {
    const said = problem && problem.status !== 0 && problem.status !== 401 ? `${problem.message}${problem.hint ? `: ${problem.hint}` : ""}.` : "";
    return html`<${Section} name="answers" title="Answers" panel="panel wait"><${Blank}>${said || "The answers come with the first commit."}<//><//>`;
  }
  const chosen = tables.find((table) => table.table === view.result) ?? tables[0];
  const wanted = search.trim().toLowerCase();
  const found = tables.filter((table) => `${table.table} ${table.comment}`.toLowerCase().includes(wanted));
  const choose = (name) => go({ result: name, search: null, order: null, measure: null, slice: null, why: null, record: null }, true);
  return html`<${Section} name="answers" title="Answers" panel="panel answers">
      <nav class="results" aria-label="Results">
        <input type="search" placeholder=${`Search ${tables.length} results`} aria-label="Search results" value=${search} onInput=${(event) => setSearch(event.target.value)} />
        <ul>${found.map((table) => html`<li key=${table.table}><button type="button" aria-current=${table === chosen ? "true" : null} title=${table.comment} onClick=${() => choose(table.table)}>
          <span class="name">${table.table.replaceAll("_", "_\u200b")}</span><span class="size">${table.rows === null ? "" : count(table.rows)}</span></button></li>`)}</ul>
        ${!found.length && html`<${Blank}>No result has “${search}”.<//>`}
      </nav>
      <label class="choose"><span>Result</span><select value=${chosen.table} onChange=${(event) => choose(event.target.value)}>
        ${tables.map((table) => html`<option key=${table.table} value=${table.table} selected=${table === chosen}>${table.table}</option>`)}</select></label>
      <${Table} key=${chosen.table} table=${chosen} ask=${ask} /><//>`;
}
