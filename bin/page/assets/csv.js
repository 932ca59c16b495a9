// CSV as `COPY … WITH (FORMAT csv, HEADER)` writes it, and the clipboard.


const quoted = (text) => (/[",\r\n]/.test(text) || text === "" || text === "\\." ? `"${text.replaceAll('"', '""')}"` : text);

function value(of) {
  if (of === null || of === undefined) return "";
  if (typeof of === "boolean") return of ? "t" : "f";
  return quoted(String(of));
}

/** The rows with these ids. */
export function csv(rows, ids) {
  const names = rows.columns.map((column) => column.name);
  const lines = ids.map((id) => rows.byId.get(id)).filter(Boolean);
  return [names.map(quoted), ...lines.map((row) => names.map((name) => value(row[name])))]
    .map((line) => `${line.join(",")}\n`)
    .join("");
}

/** Copies a text; false where the browser does not let a page do that. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // without HTTPS there is no clipboard, only the old command
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}
