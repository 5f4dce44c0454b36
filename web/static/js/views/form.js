// A form that does one thing at the server, and says whether it was done.
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { useAction } from "../load.js";
import { Failure } from "./failure.js";

/** @typedef {Record<string, string>} Fields */

/**
 * @param {object} props
 * @param {string} props.action the word on its button
 * @param {(fields: Fields, form: HTMLFormElement) => Promise<unknown>} props.act
 * @param {string} [props.done] what to say when it was done
 * @param {() => void} [props.onCancel] gives it a second button
 * @param {string} [props.cancel] the word on that
 * @param {"primary" | "danger" | ""} [props.kind] of its button
 * @param {boolean} [props.disabled]
 * @param {unknown} [props.children] the fields
 */
export function Form({ action, act, done = "", onCancel, cancel = "Cancel", kind = "primary", disabled = false, children }) {
  const { run, busy, error } = useAction();
  const [told, tell] = useState("");

  /** @param {SubmitEvent} event */
  async function submit(event) {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const fields = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]));
    tell("");
    if (await run(() => act(fields, form))) tell(done);
  }

  return html`
    <form class="fields" onSubmit=${submit}>
      ${children}
      <${Failure} error=${error} />
      <div class="buttons">
        <button class=${kind} disabled=${busy || disabled}>${busy ? "One moment…" : action}</button>
        ${onCancel && html`<button type="button" onClick=${onCancel}>${cancel}</button>`}
        <span class="done" role="status">${told}</span>
      </div>
    </form>
  `;
}
