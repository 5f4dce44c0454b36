// The form that makes an API token.
import { useState } from "preact/hooks";
import { call } from "../../api.js";
import { useFocus } from "../../focus.js";
import { html } from "../../html.js";
import { enabledBackends } from "../../store.js";
import { Form } from "../form.js";

const DAY_SECONDS = 86_400;

/** @param {{onMade: (made: import("./tokens.js").Made) => void, onCancel: () => void}} props */
export function NewToken({ onMade, onCancel }) {
  const [some, setSome] = useState(false);
  const [scope, setScope] = useState("v1");
  const first = useFocus();

  /** @param {Record<string, string>} fields @param {HTMLFormElement} form */
  async function make(fields, form) {
    const models = some && scope === "v1" ? new FormData(form).getAll("models").map(String) : [];
    // An empty list means all models: never what somebody meant who asked for some.
    if (some && scope === "v1" && !models.length) throw new Error("Choose at least one model, or allow all of them.");
    const days = Number(fields.days);
    const expires_at = days ? Math.floor(Date.now() / 1000) + days * DAY_SECONDS : null;
    onMade(await call("POST", "/api/me/tokens", { name: fields.name.trim(), scope, expires_at, models }));
  }

  return html`
    <section class="card" aria-labelledby="new-token">
      <h2 id="new-token">New token</h2>
      <${Form} action="Create token" act=${make} onCancel=${onCancel}>
        <div class="pair">
          <label>Name<input ref=${first} name="name" required maxlength="80" autocomplete="off" placeholder="What it is for, such as: notebook" /></label>
          <label>
            Ends
            <select name="days">
              <option value="30">after 30 days</option>
              <option value="90" selected>after 90 days</option>
              <option value="365">after a year</option>
              <option value="0">never</option>
            </select>
          </label>
        </div>
        <fieldset>
          <legend>It may use</legend>
          <label class="check"><input type="radio" name="scope" checked=${scope === "v1"} onChange=${() => setScope("v1")} /> only the OpenAI API (/v1)</label>
          <label class="check"><input type="radio" name="scope" checked=${scope === "all"} onChange=${() => setScope("all")} /> everything that I may use, also my conversations</label>
        </fieldset>
        <fieldset disabled=${scope === "all"}>
          <legend>Models</legend>
          <label class="check"><input type="radio" name="which" checked=${!some || scope === "all"} onChange=${() => setSome(false)} /> all, also those that come later</label>
          <label class="check"><input type="radio" name="which" checked=${some && scope === "v1"} onChange=${() => setSome(true)} /> only these</label>
          ${some && scope === "v1" && html`<div class="choices">
            ${enabledBackends.value.flatMap((b) => b.models).map((id) => html`<label class="check" key=${id}><input type="checkbox" name="models" value=${id} /> <code>${id}</code></label>`)}
          </div>`}
        </fieldset>
      <//>
    </section>
  `;
}
