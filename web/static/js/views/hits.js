// What a search has found: a message each, with the words marked.
import { ago, count, moment } from "../format.js";
import { html } from "../html.js";
import { MOST } from "../search.js";
import { backends } from "../store.js";
import { Failure } from "./failure.js";

/** @import { Hit } from "../types.js" */

/** @param {Hit} hit */
export const hrefOf = (hit) => `#/c/${hit.conversation_id}?m=${hit.message_id}`;

/** @param {number} n */
export const optionId = (n) => `hit-${n}`;

/** @param {{text: string, found: import("../search.js").Found | null, chosen: number, open: (n: number) => void}} props */
export function Hits({ text, found, chosen, open }) {
  const waiting = found?.text !== text;
  const hits = found?.hits ?? [];
  return html`
    <div class="found">
      ${found?.error ? html`<div class="found-note"><${Failure} error=${found.error} /></div>` : html`<p class="found-note hint" role="status">${summary(text, found)}</p>`}
      <div id="hits" role="listbox" aria-label="Messages found" aria-busy=${waiting}>
        ${hits.map((hit, n) => html`<${Option} key=${hit.message_id} hit=${hit} n=${n} chosen=${n === chosen} open=${open} />`)}
      </div>
    </div>
  `;
}

/** @param {string} text @param {import("../search.js").Found | null} found */
function summary(text, found) {
  if (found === null) return "Searching…";
  const { length } = found.hits;
  if (length) return length < MOST ? count(length, "message") : `The newest ${MOST} messages`;
  if (found.text !== text) return "Searching…";
  return `No message has ${text.includes(" ") ? "all of these words" : `“${text}”`}.`;
}

/** @param {{hit: Hit, n: number, chosen: boolean, open: (n: number) => void}} props */
function Option({ hit, n, chosen, open }) {
  /** @param {MouseEvent} event */
  function onClick(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // Another tab or window: as with every link.
    event.preventDefault();
    open(n);
  }

  return html`
    <a id=${optionId(n)} class="hit" role="option" aria-selected=${chosen} tabindex="-1" href=${hrefOf(hit)} onClick=${onClick}>
      <span class="hit-title">${hit.title || "New chat"}</span>
      <span class="hit-text">${hit.excerpt.map((part) => (part.hit ? html`<mark>${part.text}</mark>` : part.text))}</span>
      <span class="hit-from" title=${moment(hit.created_at)}>${writer(hit)}, ${ago(hit.created_at)}</span>
    </a>
  `;
}

/** @param {Hit} hit */
function writer({ role, backend }) {
  if (role === "user") return "You";
  return role === "error" ? "Error" : (backends.value.find((b) => b.name === backend)?.display_name ?? backend);
}
