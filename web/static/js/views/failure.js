// What went wrong, in words, and where the person can do something about it.
import { html } from "../html.js";

/** @param {{error: unknown}} props */
export function Reason({ error }) {
  const { message, code } = /** @type {{message?: string, code?: string}} */ (error);
  const link = code === "missing_values" && html` <a href="#/settings/keys">Set it in Keys</a>`;
  return html`<span>${message ?? String(error)}${link}</span>`;
}

/** @param {{error: unknown}} props null for none */
export function Failure({ error }) {
  return error ? html`<p class="error" role="alert"><${Reason} error=${error} /></p>` : null;
}
