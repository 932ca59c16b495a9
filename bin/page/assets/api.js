// Requests to the API: whole 64-bit integers, errors with their hints, and the token where one is asked for.
import { store } from "./hooks.js";

const TOKEN = "pinflow-token";
const LIMIT_MS = 35_000;

/** Whether the API asks for a token, or for another one than was given. */
export const asksToken = store(false);

/** What a request is refused with, or how it failed; status 0 where nothing answered. */
export class ApiError extends Error {
  constructor(status, message, hint) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

/** Keeps a token for as long as the tab is open. */
export function setToken(token) {
  sessionStorage.setItem(TOKEN, token);
  asksToken.set(false);
}

/** The headers of a request. */
export function headers(more = {}) {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { ...more, authorization: `Bearer ${token}` } : more;
}

const whole = (key, value, context) =>
  typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
    ? BigInt(context.source)
    : value;

/** JSON, with integers beyond 2^53 as BigInt. */
export function parse(text) {
  return /\d{16}/.test(text) ? JSON.parse(text, whole) : JSON.parse(text);
}

/** What an answer that is no 200 says. */
export async function refusal(answer) {
  const text = await answer.text().catch(() => "");
  if (answer.status === 401) asksToken.set(true);
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // a text
  }
  return new ApiError(answer.status, body.error ?? (text.slice(0, 200) || `status ${answer.status}`), body.hint);
}

/** The JSON of a GET. Throws an ApiError, also where nothing answers in time. */
export async function get(path, { limit = LIMIT_MS } = {}) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), limit);
  try {
    const answer = await fetch(path, { headers: headers(), cache: "no-store", signal: abort.signal });
    if (!answer.ok) throw await refusal(answer);
    if (path === "api/status") asksToken.set(false);
    return parse(await answer.text());
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(0, abort.signal.aborted ? "no answer in time" : "nothing answers", "is the engine running?");
  } finally {
    clearTimeout(timer);
  }
}
