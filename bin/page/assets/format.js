// Numbers, times and sizes as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const some = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });
const NUMBERS = new Set(["integer", "bigint", "numeric", "double precision"]);

/** Whether values of a column are numbers. */
export const isNumber = (column) => NUMBERS.has(column.type);

/** Whether a column is a year or a time. */
export const isTime = (column) => column.type === "date" || column.type.startsWith("timestamp") || /year/.test(column.name);

/** A count. */
export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));

/** A cell; the parts of a key are shown as they are, so that a year has no comma. */
export function cell(value, column) {
  if (value === null || value === undefined) return "null";
  if (typeof value === "boolean") return value ? "true" : "false";
  if (!isNumber(column) || column.key || isTime(column)) return String(value);
  if (typeof value === "bigint") return whole.format(value);
  const number = Number(value);
  if (!Number.isFinite(number) || String(value).length > 15 || Math.abs(number) >= 1e15) return String(value);
  return some.format(number);
}

/** `8 ms`, `4.2 s`, `3 min`, `2 h`. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 10) return `${Math.round(ms * 10) / 10} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return `${Math.round(ms / 3_600_000)} h`;
}

/** `512 B`, `1.2 MiB`. */
export function bytes(size) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; size >= 1024 && unit < units.length - 1; unit += 1) size /= 1024;
  return `${size < 10 && unit > 0 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

/** A short number for axes and legends: `8,000`, `1.2 M`. */
export function short(value) {
  const size = Math.abs(value);
  if (size >= 1e9) return `${+(value / 1e9).toPrecision(3)} G`;
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)} M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)} k`;
  return some.format(Number.isInteger(value) ? value : +value.toPrecision(3));
}

/** The time of day. */
export const clock = (date) => date.toLocaleTimeString("en-GB");

/** The value of a cell as a number, or null. */
export function numeric(value) {
  if (value === null || value === undefined) return null;
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
}
