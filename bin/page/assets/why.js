// Why a row is what it is: its posts, their records, the rows before it, the SQL; and from there what one record did.
import { Blank, cell, count, get, go, html, Link, place, Sheet, useEffect, useLoad, useRef, useState } from "./parts.js";
import { Copy } from "./answers.js";

const PAGE = 100;
const MOST = 2000;

const condition = ([name, value]) => `${encodeURIComponent(name)}=${value === null ? "is.null" : encodeURIComponent(`eq.${value}`)}`;
const filters = (key) => Object.entries(key).map(condition).join("&");
const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

/** Opens the question why, with the row in the URL. */
export function askWhy(table, row, column) {
  const key = Object.fromEntries(table.columns.filter((known) => known.key).map(({ name }) => [name, typeof row[name] === "bigint" ? String(row[name]) : row[name]]));
  go({ result: table.table, why: JSON.stringify({ key, column }), record: null }, true);
}

const showRecord = (topic, partition, offset, ind) => go({ record: [topic, partition, offset, ...(ind === undefined || ind === null ? [] : [ind])].join("/") }, true);

function Problem({ problem }) {
  return html`<div class="problem" role="alert"><p>${problem.message}.</p><p class="note">${problem.hint}</p></div>`;
}

function RecordButton({ record, ind }) {
  if (record.offset === null) return html`<span class="record">${record.topic} without an offset <small>${record.source}</small></span>`;
  return html`<${Link} title=${record.object ?? ""} press=${() => showRecord(record.topic, record.partition, record.offset, ind)}>
    ${record.topic}/${record.partition}:${record.offset} <small>${record.source ?? "unknown"}</small><//>`;
}

function Explained({ table, asked, first }) {
  const [posts, setPosts] = useState(first.posts);
  const [next, setNext] = useState(first.next);
  const [problem, setProblem] = useState(null);
  const { column } = asked;
  const known = table.columns.find((of) => of.name === column);
  const every = first.every_post.includes(column);
  const deciding = posts.filter((post) => post.decides.includes(column)).length;
  const before = first.before[column];
  const more = async () => {
    setNext(null);
    try {
      const page = await get(`api/why/${encodeURIComponent(table.table)}?${filters(asked.key)}&limit=${PAGE}&after=${next}`);
      setPosts((all) => [...all, ...page.posts]);
      setNext(page.next);
    } catch (failed) {
      setNext(next);
      setProblem(failed);
    }
  };
  let said = "";
  if (known?.key) said = `${column} is part of the key: all posts of the row have it.`;
  else if (every) said = `Every one of them counts in ${column}.`;
  else if (before) said = before.length ? `${plural(before.length, "row stands", "rows stand")} before it.` : "No row stands before it.";
  else if (deciding) said = `${plural(deciding, "of the posts shown decides", "of the posts shown decide")} ${column}.`;
  return html`<p>The row is made of <b>${plural(first.count, "post", "posts")}</b>${first.checked ? ", and the table says the same number" : ""}. ${said}</p>
    <details class="sql"><summary>The SQL that finds them</summary><${Copy} label="Copy SQL" text=${() => first.sql} /><pre tabindex="0" role="region" aria-label="SQL">${first.sql}</pre></details>
    ${before?.length > 0 && html`<${Sheet} title=${`Rows before it by ${column}`} heads=${Object.keys(before[0])}>
      ${before.slice(0, 20).map((row) => html`<tr>${Object.values(row).map((value) => html`<td>${String(value)}</td>`)}</tr>`)}<//>`}
    <${Sheet} title=${`Posts${posts.length < first.count ? `, ${count(posts.length)} of ${count(first.count)}` : ""}`} kind="posts" heads=${["Post", ...(every || before ? [] : ["Decides"]), "Records"]}>
      ${posts.map((post) => html`<tr key=${post.ind} class=${post.decides.includes(column) ? "decides" : ""}><th scope="row">${String(post.ind)}</th>
        ${!every && !before && html`<td>${post.decides.join(", ")}</td>`}
        <td>${post.records.map((record) => html`<${RecordButton} record=${record} ind=${post.ind} />`)}</td></tr>`)}<//>
    ${next !== null && posts.length < MOST && html`<button type="button" class="quiet" onClick=${more}>More posts</button>`}
    ${next !== null && posts.length >= MOST && html`<p class="note">The other posts are found by the SQL.</p>`}
    ${problem && html`<${Problem} problem=${problem} />`}
`;
}

function Why({ table, asked }) {
  const path = `api/why/${encodeURIComponent(table.table)}?${filters(asked.key)}&limit=${PAGE}`;
  const { data, problem } = useLoad(path);
  const column = table.columns.find((of) => of.name === asked.column) ?? table.columns[0];
  return html`<h2>Why is ${column.name} ${data ? html`<em>${cell(data.row[column.name], column)}</em>` : "what it is"}?</h2>
    <p class="note">${table.table}, ${Object.entries(asked.key).map(([name, value]) => `${name} ${value}`).join(", ")}${data ? ` · commit ${data.commit}` : ""}</p>
    ${!data && !problem && html`<${Blank}>The posts are being looked for.<//>`}
    ${problem && html`<${Problem} problem=${problem} />`}
    ${data && html`<${Explained} key=${path} table=${table} asked=${asked} first=${data} />`}`;
}

const STATES = {
  current: "It is the latest record of its post, and counts.",
  rejected: "It is a dead letter, and counts nowhere.",
  deleted: "Its post is deleted.",
  replaced: "A later record took its place.",
  "not yet read": "The tables do not contain it yet.",
  absent: "There is no record.",
};

function Lineage({ record, tables }) {
  const [topic, partition, offset, ind] = record.split("/");
  const { data, problem } = useLoad(`api/lineage/${[topic, partition, offset].map(encodeURIComponent).join("/")}${ind ? `?ind=${encodeURIComponent(ind)}` : ""}`);
  const rowOf = (at) => {
    const table = tables.find((known) => known.table === at.table);
    const column = table?.columns.find((known) => !known.key)?.name ?? table?.columns[0]?.name;
    return table && html`<${Link} press=${() => go({ result: at.table, search: null, order: null, measure: null, slice: null, why: JSON.stringify({ key: at.key, column }), record: null }, true)}>
      ${at.table} <small>${Object.values(at.key).map(String).join(", ")}</small><//>`;
  };
  return html`<h2>What did <em>${topic}/${partition}:${offset}</em> do?</h2>
    ${!data && !problem && html`<p class="note">${" "}</p><${Blank}>The record is being looked for.<//>`}
    ${problem && html`<${Problem} problem=${problem} />`}
    ${data && html`<p class="note">${data.ind === null ? "" : `post ${data.ind} · `}commit ${data.commit}</p>
      <p><b>${STATES[data.state] ?? data.state}</b>${data.reason ? ` ${data.reason}.` : ""}</p>
      ${data.replaced_by && html`<p>In its place: <${RecordButton} record=${data.replaced_by} ind=${data.ind} /></p>`}
      ${data.cells.length > 0 && html`<h3>Rows that its post is part of</h3><ul class="cells">${data.cells.map((at) => html`<li>${rowOf(at)}</li>`)}</ul>`}
      ${data.not_asked?.length > 0 && html`<p class="note">Not asked for lack of time: ${data.not_asked.join(", ")}.</p>`}
      ${data.row && html`<h3>Its cleaned row</h3><dl class="row">${Object.entries(data.row).map(([name, value]) => html`<dt>${name}</dt><dd class=${value === null ? "null" : ""}>${value === null ? "null" : String(value)}</dd>`)}</dl>`}`}`;
}

/** What the URL asks about, or null. */
function askedOf(text) {
  try {
    const asked = JSON.parse(text);
    return asked && typeof asked.key === "object" ? asked : null;
  } catch {
    return null;
  }
}

/** The panel at the side; open while the URL asks about a row or a record. */
export function Panel({ tables }) {
  const view = place.use();
  const dialog = useRef(null);
  const table = tables.find((known) => known.table === view.result) ?? tables[0];
  const asked = view.why ? askedOf(view.why) : null;
  const isOpen = Boolean((asked && table) || view.record);
  useEffect(() => {
    if (isOpen && !dialog.current.open) dialog.current.showModal();
    if (!isOpen && dialog.current.open) dialog.current.close();
  }, [isOpen]);
  useEffect(() => {
    if (isOpen) dialog.current.scrollTop = 0;
  }, [view.why, view.record]);
  const close = () => (place.get().why || place.get().record) && go({ why: null, record: null }, true);
  return html`<dialog ref=${dialog} class="side" aria-label=${view.record ? "What a record did" : "Why a number is what it is"} onClose=${close}
      onClick=${(event) => event.target === dialog.current && dialog.current.close()}>
    ${isOpen && html`<div class="inside">
      <div class="ends">${view.record && asked && html`<button type="button" class="quiet" onClick=${() => go({ record: null }, true)}>← The row</button>`}
        <span class="room"></span><button type="button" class="quiet" onClick=${() => dialog.current.close()}>Close</button></div>
      ${view.record ? html`<${Lineage} key=${view.record} record=${view.record} tables=${tables} />` : html`<${Why} key=${view.why} table=${table} asked=${asked} />`}
    </div>`}
  </dialog>`;
}
