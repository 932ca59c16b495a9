// What is in no table: dead letters by reason with samples, and accepted gaps.
import { Blank, count, get, go, html, Link, Section, Sheet, useEffect, useRepeat, useState } from "./parts.js";

const EVERY_MS = 5000;
const SAMPLES = 20;
const MOST = 50;
const BYTES = 300;

/** Bytes of a record as text; what is no text is shown as its code points. */
function decoded(base64) {
  if (base64 === null || base64 === undefined) return null;
  const binary = atob(base64.slice(0, 4 * Math.ceil(BYTES / 3)));
  const text = new TextDecoder().decode(Uint8Array.from(binary, (letter) => letter.charCodeAt(0)));
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g, "·");
}

function Samples({ chosen }) {
  const [rows, setRows] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    get(`api/rejects?topic=${encodeURIComponent(chosen.topic)}&reason=${encodeURIComponent(chosen.reason)}&limit=${SAMPLES}`).then((data) => setRows(data.rows), setProblem);
  }, []);
  if (problem) return html`<p class="note">${problem.message}</p>`;
  if (!rows) return html`<${Blank}>The records are being read.<//>`;
  return html`<${Sheet} title=${`The first ${rows.length} of ${chosen.topic}: ${chosen.reason}`} heads=${["Where", "Rejected", ...(rows[0]?.encoding ? ["Value"] : [])]}>
    ${rows.map((row) => html`<tr key=${`${row.source} ${row.position}`}><td>${
        row.offset === null ? `${row.object ?? row.source} ${row.position}` : html`<${Link} press=${() => go({ record: `${row.topic}/${row.partition}/${row.offset}`, why: null }, true)}>${row.topic}/${row.partition}:${row.offset}<//>`}</td>
      <td>${row.rejected_at?.slice(0, 19).replace("T", " ") ?? ""}</td>${row.encoding && html`<td><code class="bytes">${decoded(row.value) ?? "null"}</code></td>`}</tr>`)}<//>`;
}

/** What of the log is in the lake; asked for by a press, since that lists the whole lake. */
function Audit() {
  const [found, setFound] = useState(null);
  const ask = () => {
    setFound({ message: "Listing the lake." });
    get("api/audit").then(setFound, setFound);
  };
  const sum = (gaps) => gaps.reduce((all, gap) => all + gap.to - gap.from, 0);
  return html`<button type="button" class="quiet" onClick=${ask}>Audit the lake</button>
    ${found?.message && html`<p class="note">${found.message}</p>`}
    ${found?.partitions && html`<${Sheet} title=${`The lake is ${found.ok ? "" : "not "}complete`} heads=${["Where", "Objects#", "Gaps#", "Missing#", "Waiting#"]}>
      ${found.partitions.map((of) => html`<tr><td>${of.topic}/${of.partition}</td>${[of.objects, sum(of.gaps), sum(of.missing), of.waiting].map((of) => html`<td class="number">${count(of)}</td>`)}</tr>`)}<//>`}`;
}

export function Losses({ isFilled }) {
  const [known, setKnown] = useState({});
  const [open, setOpen] = useState(null);
  useRepeat(EVERY_MS, async () => {
    if (!isFilled) return;
    const ask = (name, path) => get(path).then((data) => ({ [name]: data }), (problem) => (problem.status === 404 ? { [name]: null } : {}));
    const parts = await Promise.all([ask("rejects", "api/rejects?limit=1&raw=false"), ask("gaps", "api/gaps")]);
    setKnown((before) => Object.assign({}, before, ...parts));
  }, [isFilled]);
  const { rejects, gaps } = known;
  const counts = [...(rejects?.counts ?? [])].sort((a, b) => b.count - a.count);
  const isOpen = (of) => open?.topic === of.topic && open?.reason === of.reason;
  return html`<${Section} name="rejects" title="Rejects and gaps">
    ${counts.length > 0 && html`<${Sheet} caption="Dead letters by reason" heads=${["Topic", "Reason", "Records#"]}>
      ${counts.slice(0, MOST).map((of) => html`<tr key=${`${of.topic} ${of.reason}`}><td>${of.topic}</td>
        <td><${Link} aria-expanded=${isOpen(of) ? "true" : "false"} press=${() => setOpen(isOpen(of) ? null : of)}>${of.reason}<//></td><td class="number">${count(of.count)}</td></tr>`)}<//>`}
    ${!counts.length && html`<${Blank}>${rejects ? "No record was rejected." : "Not known yet."}<//>`}
    ${rejects?.dropped > 0 && html`<p class="note">${count(rejects.dropped)} more are counted, but not kept.</p>`}
    ${open && html`<${Samples} key=${`${open.topic} ${open.reason}`} chosen=${open} />`}
    ${gaps && (gaps.gaps.length
      ? html`<${Sheet} title="Accepted gaps" heads=${["Where", "Offsets#", "Reason"]}>
        ${gaps.gaps.slice(0, MOST).map((gap) => html`<tr><td>${gap.object ?? `${gap.topic}/${gap.partition} ${gap.from}..${gap.to}`}</td><td class="number">${count(gap.offsets)}</td><td>${gap.reason}</td></tr>`)}<//>`
      : html`<p class="line"><span>Gaps</span> none</p>`)}
    <${Audit} />
  <//>`;
}
