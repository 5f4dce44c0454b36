// What an event lacks, as a badge.
import { html } from "../../html.js";

/** @import { LoggedEvent } from "../../inspector/types.js" */

/** @param {{event: LoggedEvent}} props */
export function Marks({ event }) {
  return html`
    ${event.erased && html` <span class="badge bad">Erased</span>`}
    ${event.problem && html` <span class="badge bad" title=${event.problem}>Unreadable</span>`}
  `;
}
