// Which picture a table gets, chosen from its columns, so that results of one's own get one, too.
import { isNumber, isTime, numeric } from "./parts.js";
import { isPlace } from "./order.js";

const BARS = 18;
const LINES = 5;
const DOWN = 20;
const ACROSS = 16;
const SLICES = 500;
/** A heat map of fewer cells than this share would be mostly holes. */
const DENSE = 0.3;

const MIDDLE = /median|percentile|average|avg|mean/;
const COUNT = /count|number|records|posts|total/;

/** The columns that a picture can show. */
export const measures = (columns) => columns.filter((column) => !column.key && isNumber(column) && !isPlace(column));

const sumBy = (rows, keyOf, valueOf) => {
  const sums = new Map();
  for (const row of rows) sums.set(keyOf(row), (sums.get(keyOf(row)) ?? 0) + (valueOf(row) ?? 0));
  return sums;
};
const greatest = (sums, most) => [...sums].sort((a, b) => b[1] - a[1]).slice(0, most).map(([name]) => name);
const joined = (row, names) => names.map((name) => String(row[name])).join(" · ");

/**
 * `{kind, measure, …}`: `bars` with `bars: [{label, value, count, row}]`, `lines` with `x` and `lines: [{label, values}]`,
 * `heat` with `down`, `across`, `cells`; or null where there is no number to draw. `slices` are the values of the first
 * key where there are too many keys for one picture.
 */
export function plan(rows, ids, hint, wishes) {
  const numbers = measures(rows.columns);
  const keys = rows.columns.filter((column) => column.key);
  if (!numbers.length || !keys.length || !ids.length) return null;
  const measure = numbers.find((column) => column.name === wishes.measure) ?? numbers.find((column) => column.name === hint?.y) ?? numbers[0];
  const value = (row) => numeric(row[measure.name]);
  const time = keys.find((column) => column.name === hint?.x && isTime(column)) ?? keys.find(isTime);
  const dimensions = keys.filter((column) => column !== time);
  let all = ids.map((id) => rows.byId.get(id)).filter(Boolean);
  const base = { measure, measures: numbers };

  const counts = MIDDLE.test(measure.name) ? numbers.find((column) => column !== measure && COUNT.test(column.name) && !MIDDLE.test(column.name)) : null;
  if (counts && keys.length === 1) {
    return bars(all.sort((a, b) => (a[keys[0].name] < b[keys[0].name] ? -1 : 1)), keys, { ...base, counts, sorted: false });
  }

  const room = time ? 1 : 2;
  while (dimensions.length > room) {
    const first = dimensions.shift();
    const sums = sumBy(all, (row) => row[first.name], value);
    const values = [...sums.keys()].sort((a, b) => (a < b ? -1 : 1)).slice(0, SLICES);
    const chosen = values.find((known) => String(known) === wishes.slice) ?? greatest(sums, 1)[0];
    all = all.filter((row) => row[first.name] === chosen);
    base.slices ??= { column: first, values, chosen };
  }
  if (time) return lines(all, time, dimensions, base);
  if (dimensions.length === 1) return bars(all, keys, { ...base, sorted: true });
  const [down, across] = dimensions;
  const sizes = [new Set(all.map((row) => row[down.name])).size, new Set(all.map((row) => row[across.name])).size];
  if (all.length < DENSE * sizes[0] * sizes[1]) return bars(all, dimensions, { ...base, sorted: true });
  return heat(all, down, across, base);

  function bars(rows, names, more) {
    if (more.sorted) rows = rows.sort((a, b) => (value(b) ?? -Infinity) - (value(a) ?? -Infinity));
    const bar = (row) => ({ label: joined(row, names.map((of) => of.name)), value: value(row), count: more.counts ? numeric(row[more.counts.name]) : null, row });
    return { kind: "bars", ...more, of: names.map((name) => name.name).join(" · "), total: rows.length, bars: rows.slice(0, BARS).map(bar) };
  }

  function lines(rows, time, names, more) {
    const at = (row) => (time.type === "date" || time.type.startsWith("timestamp") ? Date.parse(/T|Z/.test(row[time.name]) ? `${row[time.name]}Z` : row[time.name]) / 1000 : numeric(row[time.name]));
    const x = [...new Set(rows.map(at))].filter((moment) => moment !== null).sort((a, b) => a - b);
    const label = (row) => (names.length ? joined(row, names.map((of) => of.name)) : measure.name);
    const sums = sumBy(rows, label, value);
    const shown = greatest(sums, LINES);
    const places = new Map(x.map((moment, index) => [moment, index]));
    const found = new Map(shown.map((name) => [name, x.map(() => null)]));
    for (const row of rows) {
      const list = found.get(label(row));
      if (list && places.has(at(row))) list[places.get(at(row))] = value(row);
    }
    return {
      kind: "lines", ...more, time, dates: time.type !== "integer" && time.type !== "bigint", x, total: sums.size,
      lines: shown.map((name) => ({ label: name, values: found.get(name) })),
    };
  }

  function heat(rows, down, across, more) {
    const [ofDown, ofAcross] = [down, across].map((column) => sumBy(rows, (row) => row[column.name], value));
    const [names, heads] = [greatest(ofDown, DOWN), greatest(ofAcross, ACROSS)];
    const cells = new Map();
    for (const row of rows) cells.set(`${row[down.name]}\u0000${row[across.name]}`, row);
    const cell = (name, head) => {
      const row = cells.get(`${name}\u0000${head}`);
      return { row, value: row ? value(row) : null };
    };
    return {
      kind: "heat", ...more, down, across, heads, totals: [ofDown.size, ofAcross.size],
      lines: names.map((name) => ({ label: String(name), cells: heads.map((head) => cell(name, head)) })),
    };
  }
}
