// Text of several lines, to be copied.
import { useRef, useState } from "preact/hooks";
import { copyFrom } from "../../clipboard.js";
import { html } from "../../html.js";

/** @param {{label: string, value: string, rows: number}} props */
export function CopyBox({ label, value, rows }) {
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const [told, tell] = useState("Copy");

  async function copy() {
    if (!field.current) return;
    tell((await copyFrom(field.current)) ? "Copied" : "Press Ctrl+C");
    setTimeout(() => tell("Copy"), 2500);
  }

  return html`
    <div class="copy-box">
      <label>${label}<textarea ref=${field} class="mono" readonly rows=${rows} value=${value} spellcheck=${false}></textarea></label>
      <button type="button" class="small" aria-label="Copy: ${label}" onClick=${copy}>${told}</button>
      <span class="unseen" role="status">${told === "Copy" ? "" : told}</span>
    </div>
  `;
}
