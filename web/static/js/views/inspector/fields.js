// Named values of any shape, to be read.
import { drawable } from "../../density.js";
import { html } from "../../html.js";
import { exact } from "../../inspector/spans.js";

/** @param {{of: Record<string, unknown>, erased?: boolean, none?: string}} props `erased`: what is blank may be so because it was destroyed */
export function Fields({ of, erased = false, none = "Nothing." }) {
  const entries = Object.entries(of);
  if (!entries.length) return html`<p class="hint">${none}</p>`;
  return html`
    <dl class="pairs payload">
      ${entries.map(([name, value]) => html`<div key=${name}><dt><code>${name}</code></dt><dd><${Value} value=${value} name=${name} blank=${erased ? "blank, perhaps erased" : "blank"} /></dd></div>`)}
    </dl>
  `;
}

/** @param {{value: unknown, name?: string, blank?: string}} props */
export function Value({ value, name = "", blank = "blank" }) {
  if (value === "") return html`<span class="hint">${blank}</span>`;
  if (value === undefined) return null;
  if (typeof value === "string") return html`<span class="value">${drawable(value)}</span>`;
  if (typeof value === "number" && name.endsWith("_at")) return html`<span class="value" title=${exact(value * 1e6)}>${value}</span>`;
  return html`<code class="value">${drawable(JSON.stringify(value, null, typeof value === "object" ? 2 : 0))}</code>`;
}
