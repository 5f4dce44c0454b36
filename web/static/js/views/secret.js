// Something that the server shows only once: to be copied now.
import { useRef, useState } from "preact/hooks";
import { copyFrom } from "../clipboard.js";
import { useFocus } from "../focus.js";
import { html } from "../html.js";

/** @param {{title: string, fields: {label: string, value: string}[], onDone: () => void, children?: unknown}} props */
export function Secret({ title, fields, onDone, children }) {
  const heading = useFocus();
  return html`
    <section class="card secret">
      <h2 ref=${heading} tabindex="-1">${title}</h2>
      <p>Copy it now: for safety it is shown only this once.</p>
      ${fields.map((field) => html`<${Copyable} key=${field.label} ...${field} />`)}
      ${children}
      <div class="buttons"><button type="button" onClick=${onDone}>I have copied it</button></div>
    </section>
  `;
}

/** @param {{label: string, value: string}} props */
function Copyable({ label, value }) {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const [told, tell] = useState("Copy");

  async function copy() {
    if (!field.current) return;
    tell((await copyFrom(field.current)) ? "Copied" : "Press Ctrl+C");
    setTimeout(() => tell("Copy"), 2500);
  }

  return html`
    <div class="copyable">
      <label>${label}<input ref=${field} class="mono" readonly value=${value} autocomplete="off" spellcheck=${false} onFocus=${() => field.current?.select()} /></label>
      <button type="button" aria-label="Copy: ${label}" onClick=${copy}>${told}</button>
      <span class="unseen" role="status">${told === "Copy" ? "" : told}</span>
    </div>
  `;
}
