// The answer of the server once it is here; until then, that it is on its way or why it did not come.
import { html } from "../html.js";
import { Failure } from "./failure.js";

/**
 * @template T
 * @param {{of: import("../load.js").Resource<T>, children: (data: T) => unknown}} props
 */
export function Loaded({ of, children }) {
  const failed = of.error && html`
    <div class="row failed-load">
      <${Failure} error=${of.error} />
      <button type="button" class="small" disabled=${of.busy} onClick=${of.reload}>Try again</button>
    </div>
  `;
  if (of.data === null) return failed || html`<p class="loading" role="status">Loading…</p>`;
  return html`${failed}<div class="loaded" aria-busy=${of.busy}>${children(of.data)}</div>`;
}
