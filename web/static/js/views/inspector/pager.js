// Older and newer, where that is not in the address.
import { useState } from "preact/hooks";
import { html } from "../../html.js";

/** @typedef {{before: number, older: (last: number) => void, newer: () => void}} Pages `before` is 0 on the newest page */

/** @returns {Pages} */
export function usePages() {
  const [befores, set] = useState(/** @type {number[]} */ ([]));
  return { before: befores.at(-1) ?? 0, older: (last) => set([...befores, last]), newer: () => set(befores.slice(0, -1)) };
}

/** @param {{pages: Pages, more: boolean, last: number}} props the position of the last one shown */
export function Pager({ pages, more, last }) {
  if (!more && !pages.before) return null;
  return html`
    <nav class="buttons pager" aria-label="Pages">
      <button type="button" disabled=${!pages.before} onClick=${pages.newer}>Newer</button>
      <button type="button" disabled=${!more} onClick=${() => pages.older(last)}>Older</button>
    </nav>
  `;
}
