// Which rows are shown, and in which order; and which of them share a place.
import { isNumber } from "./parts.js";

const PLACES = new Set(["rank", "place", "row_number", "dense_rank"]);

/** Whether a column is a place in a ranking. */
export const isPlace = (column) => PLACES.has(column.name) && !column.key;

/** `[{column, down}]` of `a.desc,b`; what is no column is left out. */
export function parseOrder(text, columns) {
  const parts = (text ?? "").split(",").map((part) => part.match(/^(.*?)(\.desc|\.asc)?$/));
  const known = (name) => columns.find((column) => column.name === name);
  return parts.filter((part) => known(part[1])).map((part) => ({ column: known(part[1]), down: part[2] === ".desc" }));
}

/** The order of a table for which none was chosen: a ranking by its places, anything else by its key. */
export function naturalOrder(columns) {
  const keys = columns.filter((column) => column.key);
  const place = columns.find(isPlace);
  const by = place ? [...keys.slice(0, -1), place, ...keys.slice(-1)] : keys;
  return by.map((column) => ({ column, down: false }));
}

function compare(a, b, numeric) {
  if (a === b) return 0;
  if (a === null || a === undefined) return 2; // null is last, whichever way
  if (b === null || b === undefined) return -2;
  if (numeric && typeof a !== "bigint" && typeof b !== "bigint") return Math.sign(Number(a) - Number(b)) || 0;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The ids of the rows that a search finds, in order. */
export function arrange(rows, search, order) {
  const wanted = (search ?? "").trim().toLowerCase();
  const names = rows.columns.map((column) => column.name);
  const found = [];
  for (const [id, row] of rows.byId) {
    if (!wanted || names.some((name) => String(row[name]).toLowerCase().includes(wanted))) found.push(id);
  }
  const keys = rows.columns.filter((column) => column.key).map((column) => ({ column, down: false }));
  const by = [...(order.length ? order : naturalOrder(rows.columns)), ...keys].map(({ column, down }) => ({
    name: column.name,
    numeric: isNumber(column),
    down,
  }));
  return found.sort((one, other) => {
    const [a, b] = [rows.byId.get(one), rows.byId.get(other)];
    for (const { name, numeric, down } of by) {
      const sign = compare(a[name], b[name], numeric);
      if (sign !== 0) return Math.abs(sign) === 2 ? sign : down ? -sign : sign;
    }
    return 0;
  });
}

/** For each id of a row that shares its place with others: how many they are together. */
export function ties(rows) {
  const place = rows.columns.find(isPlace);
  if (!place) return new Map();
  const group = rows.keys.slice(0, -1);
  const groups = new Map();
  for (const [id, row] of rows.byId) {
    const name = [...group, place.name].map((column) => String(row[column])).join("\u0000");
    const ids = groups.get(name);
    if (ids) ids.push(id);
    else groups.set(name, [id]);
  }
  const shared = [...groups.values()].filter((ids) => ids.length > 1);
  return new Map(shared.flatMap((ids) => ids.map((id) => [id, ids.length])));
}
