// The settings of the run, with secrets masked by the engine.
import { html, Section, Sheet, useLoad, useState } from "./parts.js";

export function Configuration() {
  const [all, setAll] = useState(false);
  const settings = useLoad("api/configuration").data?.settings ?? [];
  const shown = all ? settings : settings.filter((of) => of.source !== "default");
  return html`<${Section} name="configuration" title="Configuration">
    <${Sheet} caption="Settings" kind="settings" heads=${["Key", "Value", "From"]}>
      ${shown.map((of) => html`<tr key=${of.key}><th scope="row">${of.key}</th><td>${of.value === null ? "" : String(of.value)}</td><td>${of.origin}</td></tr>`)}<//>
    <button type="button" class="quiet" aria-pressed=${all ? "true" : "false"} onClick=${() => setAll(!all)}>${all ? "Without defaults" : `With ${settings.length - shown.length} defaults`}</button>
  <//>`;
}
