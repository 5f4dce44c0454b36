// A small menu to keep a conversation as a file.
import { useRef, useState } from "preact/hooks";
import { useDismissal } from "../dismissal.js";
import { html } from "../html.js";
import { down } from "./icons.js";

const FORMATS = [
  { id: "markdown", label: "Markdown", hint: "to read" },
  { id: "json", label: "JSON", hint: "for programs" },
];

/** @param {{id: string}} props of the conversation */
export function Download({ id }) {
  const [open, setOpen] = useState(false);
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const { whole, onKeyDown } = useDismissal(open, () => setOpen(false), button);

  return html`
    <div class="dropdown" onKeyDown=${onKeyDown} ref=${whole}>
      <button type="button" class="icon-button" ref=${button} aria-label="Download this conversation" title="Download" aria-expanded=${open} onClick=${() => setOpen(!open)}>${down}</button>
      ${open && html`
        <ul>
          ${FORMATS.map((f) => html`<li key=${f.id}><a href="/api/conversations/${id}/export?format=${f.id}" download onClick=${() => setOpen(false)}>${f.label} <span class="hint">${f.hint}</span></a></li>`)}
        </ul>
      `}
    </div>
  `;
}
