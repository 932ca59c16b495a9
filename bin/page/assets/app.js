// The page: the sections, from the state of the run to its settings.
import { asksToken, html, render } from "./parts.js";
import { Answers, useTables } from "./answers.js";
import { Configuration } from "./configuration.js";
import { engine, stateOf, watch } from "./engine.js";
import { Flow } from "./flow.js";
import { Lag } from "./lag.js";
import { Latency } from "./latency.js";
import { Losses } from "./losses.js";
import { Truth } from "./truth.js";
import { Panel, askWhy } from "./why.js";

function Jump({ title }) {
  const name = title.toLowerCase();
  const jump = (event) => {
    // the URL keeps the view, not the place on the page
    event.preventDefault();
    document.getElementById(name)?.scrollIntoView();
  };
  return html`<a href=${`#${name}`} onClick=${jump}>${title}</a>`;
}

function Sections() {
  // before the first commit there is nothing to ask for
  const isFilled = engine.use((known) => known.isFilled);
  const { tables, problem } = useTables(isFilled);
  return html`<header><h1>pinflow</h1><nav aria-label="Sections">
      ${["Answers", "Lag", "Latency", "Dataflow", "Rejects", "Configuration"].map((title) => html`<${Jump} title=${title} />`)}</nav></header>
    <main>
      <${Truth} />
      <${Answers} tables=${tables} problem=${problem} ask=${askWhy} />
      <div class="pair"><${Lag} /><${Latency} /></div>
      <${Flow} />
      <div class="pair"><${Losses} isFilled=${isFilled} /><${Configuration} /></div>
    </main>
    <${Panel} tables=${tables ?? []} />`;
}

/** Without a status, or a token, there is nothing to show but that. */
function Page() {
  const asks = asksToken.use();
  const state = stateOf(engine.use());
  if (asks || state === "token" || state === "waiting") return html`<header><h1>pinflow</h1></header><main><${Truth} /></main>`;
  return html`<${Sections} />`;
}

watch();
const root = document.getElementById("page");
root.replaceChildren();
render(html`<${Page} />`, root);
