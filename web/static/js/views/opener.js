// A button that opens a form below itself, and has the focus again when the form is closed.
import { useLayoutEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { plus } from "./icons.js";

/**
 * @param {object} props
 * @param {string} props.label on the button
 * @param {unknown} props.beside what stands beside it
 * @param {boolean} props.open
 * @param {(open: boolean) => void} props.setOpen
 * @param {unknown} props.children the form
 */
export function Opener({ label, beside, open, setOpen, children }) {
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const before = useRef(open);
  useLayoutEffect(() => {
    if (before.current && !open) button.current?.focus();
    before.current = open;
  }, [open]);
  return html`
    <div class="row">
      ${beside}
      <button type="button" class=${open ? "" : "primary"} ref=${button} aria-expanded=${open} onClick=${() => setOpen(!open)}>${plus} ${label}</button>
    </div>
    ${open && children}
  `;
}
