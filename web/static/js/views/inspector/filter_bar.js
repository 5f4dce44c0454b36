// What the events are narrowed down to.
import { useLayoutEffect, useState } from "preact/hooks";
import { html } from "../../html.js";
import { go } from "../../route.js";
import { used } from "../../inspector/filters.js";
import { fromField, toField } from "../../inspector/spans.js";
import { TypeChoice } from "./type_choice.js";
import { UserField } from "./user_field.js";

/** @import { Filters } from "../../inspector/filters.js" */

/** @param {{filters: Filters, filtered: (change: Partial<Filters>) => string}} props */
export function FilterBar({ filters, filtered }) {
  const [open, setOpen] = useState(false);
  const n = used(filters);
  /** @param {Partial<Filters>} change */
  const set = (change) => go(filtered(change));
  return html`
    <section class="card filters" aria-label="Filters">
      <button type="button" class="small filters-opener" aria-expanded=${open} onClick=${() => setOpen(!open)}>Filters${n ? `: ${n} in use` : ""}</button>
      <form class=${open ? "filter-fields open" : "filter-fields"} role="search" onSubmit=${(/** @type {Event} */ e) => e.preventDefault()}>
        <${TypeChoice} chosen=${filters.types} choose=${(/** @type {string[]} */ types) => set({ types })} />
        <label>
          ${filters.stream ? "Stream, exactly" : "Stream begins with"}
          <${TextField} value=${filters.stream || filters.prefix} placeholder="conversation:" commit=${(/** @type {string} */ prefix) => set({ prefix, stream: "" })} />
        </label>
        <${UserField} chosen=${filters.user} choose=${(/** @type {string} */ user) => set({ user })} />
        <label>Correlation<${TextField} value=${filters.correlation} commit=${(/** @type {string} */ correlation) => set({ correlation })} /></label>
        <label>From<${TextField} type="datetime-local" step="1" value=${toField(filters.since)} commit=${(/** @type {string} */ text) => set({ since: fromField(text) })} /></label>
        <label>To<${TextField} type="datetime-local" step="1" value=${toField(filters.until)} commit=${(/** @type {string} */ text) => set({ until: fromField(text) })} /></label>
      </form>
    </section>
  `;
}

/**
 * A field whose text counts once it is left, or at Enter.
 * @param {{value: string, commit: (text: string) => void} & Record<string, unknown>} props
 */
export function TextField({ value, commit, ...rest }) {
  const [text, type] = useState(value);
  useLayoutEffect(() => type(value), [value]); // Before anybody can type into it.
  return html`
    <input
      type="search"
      autocomplete="off"
      autocapitalize="off"
      spellcheck=${false}
      ...${rest}
      value=${text}
      onInput=${(/** @type {any} */ e) => type(e.target.value)}
      onChange=${(/** @type {any} */ e) => e.target.value.trim() !== value && commit(e.target.value.trim())}
    />
  `;
}
