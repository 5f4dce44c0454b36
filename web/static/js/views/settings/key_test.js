// Whether the language model of an agent answers with the values that are in effect.
import { useState } from "preact/hooks";
import { call } from "../../api.js";
import { html } from "../../html.js";
import { useAction } from "../../load.js";
import { Failure } from "../failure.js";

/** @import { Tested } from "../../types.js" */

/** @param {{backend: string, place: string}} props */
export function TestConnection({ backend, place }) {
  const { run, busy, error } = useAction();
  const [tested, setTested] = useState(/** @type {Tested | null} */ (null));

  const test = () =>
    run(async () => {
      setTested(null);
      setTested(await call("POST", "/api/me/env-overrides/test", { backend }));
    });

  return html`
    <div class="key-test">
      <button type="button" class="small" disabled=${busy} aria-label="Test the connection of ${place}" onClick=${test}>${busy ? "Testing…" : "Test the connection"}</button>
      <div class="test-result" role="status">
        ${tested && html`<span class=${tested.ok ? "good" : "error"}>${tested.ok ? "✓" : "✗"} ${tested.detail}</span>`}
      </div>
      <${Failure} error=${error} />
      ${tested && tested.models.length > 0 && html`
        <details>
          <summary>${tested.models.length === 1 ? "1 model" : `${tested.models.length} models`}</summary>
          <ul class="models">${tested.models.map((id) => html`<li key=${id}><code>${id}</code></li>`)}</ul>
        </details>
      `}
    </div>
  `;
}
