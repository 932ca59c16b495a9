// What sections share: the library, formats, the view, markup, and single requests.
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";

export * from "./vendor/htm-preact.js";
export * from "./api.js";
export * from "./format.js";
export * from "./hooks.js";
export * from "./place.js";

/** A section of the page, with its head. */
export const Section = ({ name, title, panel = "panel", children }) => html`<section id=${name} aria-labelledby=${`${name}-head`}>
  <h2 id=${`${name}-head`}>${title}</h2><div class=${panel}>${children}</div></section>`;

/** A small table, which scrolls when it is a long one. A head that ends in `#` is one of numbers; `title` is shown. */
export const Sheet = ({ caption, title, heads, kind = "", children }) => html`<div class="scroll" tabindex="0" role="region" aria-label=${title ?? caption}>
  <table class=${`plain ${kind}`}><caption class=${title ? "" : "unseen"}>${title ?? caption}</caption>
    <thead><tr>${heads.map((head) => html`<th scope="col" class=${head.endsWith("#") ? "number" : ""}>${head.replace("#", "")}</th>`)}</tr></thead>
    <tbody>${children}</tbody></table></div>`;

/** What is said in the place of what is not there. */
export const Blank = ({ children }) => html`<p class="blank">${children}</p>`;

/** A button that looks like a link. */
export const Link = ({ press, children, ...more }) => html`<button type="button" class="record" onClick=${press} ...${more}>${children}</button>`;

/** `{data, problem}` of a path; both null while it is asked. */
export function useLoad(path) {
  const [state, setState] = useState({ path: null, data: null, problem: null });
  useEffect(() => {
    let stopped = false;
    const set = (part) => stopped || setState({ path, data: null, problem: null, ...part });
    set({});
    get(path).then((data) => set({ data }), (problem) => set({ problem }));
    return () => {
      stopped = true;
    };
  }, [path]);
  return state.path === path ? state : { data: null, problem: null };
}
