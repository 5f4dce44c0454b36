// A dialog over the page. The browser keeps the focus inside, closes it by Escape and gives the focus back.
import { useEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { cross } from "./icons.js";

/** @param {{title: string, onClose: () => void, children: unknown}} props */
export function Dialog({ title, onClose, children }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => element.current?.showModal(), []);
  return html`
    <dialog ref=${element} aria-label=${title} onClose=${onClose}>
      <header class="row">
        <h2>${title}</h2>
        <button type="button" class="icon-button" aria-label="Close" title="Close" onClick=${() => element.current?.close()}>${cross}</button>
      </header>
      ${children}
    </dialog>
  `;
}
