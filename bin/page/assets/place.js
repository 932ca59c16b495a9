// The view in the URL: which result, what is searched, its order, and the row that is asked about. A link keeps it.
import { store } from "./hooks.js";

const NAMES = ["result", "search", "order", "measure", "slice", "why", "record"];

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(NAMES.filter((name) => given.has(name)).map((name) => [name, given.get(name)]));
}

/** The view as it stands in the URL. */
export const place = store(read());

addEventListener("hashchange", () => place.set(read()));
addEventListener("popstate", () => place.set(read()));

/** Changes parts of the view; null takes one away. With `push` the back button returns to the view before. */
export function go(parts, push = false) {
  const next = { ...place.get(), ...parts };
  const named = NAMES.filter((name) => next[name] !== null && next[name] !== undefined && next[name] !== "");
  const hash = new URLSearchParams(named.map((name) => [name, next[name]])).toString();
  const url = `${location.pathname}${location.search}${hash ? `#${hash}` : ""}`;
  if (push) history.pushState(null, "", url);
  else history.replaceState(null, "", url);
  place.set(read());
}
