// One variable in one place: its value as far as it is shown, where that comes from, and changing it.
import { useRef, useState } from "preact/hooks";
import { call } from "../../api.js";
import { useFocus } from "../../focus.js";
import { html } from "../../html.js";
import { tell } from "../../store.js";
import { Form } from "../form.js";

const SECRET = /KEY|TOKEN|SECRET|PASSWORD/;

/**
 * @param {object} props
 * @param {string} props.name of the variable
 * @param {string} props.scope a backend's name, "" for all agents
 * @param {string} props.place the scope in words
 * @param {string} props.value masked, "" for none
 * @param {boolean} props.own whether the value was set in this scope
 * @param {string} props.note where the value comes from
 * @param {string} [props.hint]
 * @param {boolean} [props.missing]
 * @param {() => Promise<void>} props.reload
 */
export function KeyRow({ name, scope, place, value, own, note, hint = "", missing = false, reload }) {
  const [editing, edit] = useState(false);
  const opener = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const path = `/api/me/env-overrides/${encodeURIComponent(name)}`;

  function close() {
    edit(false);
    opener.current?.focus();
  }

  /** @param {Record<string, string>} fields */
  async function save(fields) {
    await call("PUT", path + (fields.now ? "?force=true" : ""), { value: fields.value.trim(), backend: scope });
    close();
    await reload();
  }

  async function remove() {
    if (!confirm(`Remove your value of ${name} for ${place}?`)) return;
    await call("DELETE", `${path}?backend=${encodeURIComponent(scope)}`).then(reload).catch(tell);
    opener.current?.focus();
  }

  return html`
    <div class=${missing ? "key missing" : "key"}>
      <div class="key-name"><code>${name}</code>${hint && html`<span class="hint">${hint}</span>`}</div>
      <div class="key-value">
        ${value && html`<code>${value}</code>`}
        ${note && html`<span class=${missing ? "badge bad" : own ? "badge own" : "badge"}>${note}</span>`}
      </div>
      <div class="buttons">
        <button type="button" class="small" ref=${opener} aria-expanded=${editing} aria-label="${own ? "Replace" : "Set"} ${name} for ${place}" onClick=${() => edit(!editing)}>
          ${own ? "Replace" : scope ? "Set for this agent" : "Set"}
        </button>
        ${own && html`<button type="button" class="small" aria-label="Remove ${name} for ${place}" onClick=${remove}>Remove</button>`}
      </div>
      ${editing && html`<${Editor} name=${name} place=${place} save=${save} close=${close} />`}
    </div>
  `;
}

/** @param {{name: string, place: string, save: (fields: Record<string, string>) => Promise<void>, close: () => void}} props */
function Editor({ name, place, save, close }) {
  const field = useFocus();
  return html`
    <div class="key-editor" onKeyDown=${(/** @type {KeyboardEvent} */ e) => e.key === "Escape" && close()}>
      <${Form} action="Save" act=${save} onCancel=${close}>
        <label>${name} for ${place}<input ref=${field} name="value" class="mono" type=${SECRET.test(name) ? "password" : "text"} required autocomplete="off" autocapitalize="off" spellcheck=${false} /></label>
        <label class="check"><input type="checkbox" name="now" /> Stop running agents at once, in the middle of an answer</label>
      <//>
    </div>
  `;
}
