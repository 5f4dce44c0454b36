// What a person takes of the server: in the log, as conversations, as agents' files.
import { binaryBytes as bytes, whole } from "../format.js";
import { html } from "../html.js";

/** @import { Room, Most } from "../types.js" */
/** @typedef {{name: string, taken: number | null, most: number | null, told: (n: number) => string, note?: string}} Share */

/** @param {Room} room @param {Most} most @returns {Share[]} */
export function shares(room, most) {
  return [
    { name: "Kept today", taken: room.log_today, most: most.log_per_day, told: bytes, note: `${bytes(room.log)} in all. Days are counted in UTC.` },
    { name: "Conversations", taken: room.conversations, most: most.conversations, told: whole },
    { name: "Files of agents", taken: room.files, most: most.files, told: bytes, note: room.files === null ? "Not measured yet." : "Measured every few minutes." },
  ];
}

/** @param {Share} share */
export const isFull = ({ taken, most }) => most !== null && taken !== null && taken >= most;

/** @param {Share} share */
export function taken({ taken, told }) {
  return taken === null ? "–" : told(taken);
}

/** @param {{room: Room, most: Most}} props */
export function RoomTaken({ room, most }) {
  return html`
    <dl class="shares">
      ${shares(room, most).map((share) => html`
        <div key=${share.name} class=${isFull(share) ? "over" : ""}>
          <dt>${share.name}</dt>
          <dd class="numbers">${taken(share)}${share.most !== null && html` of ${share.told(share.most)}`}</dd>
          ${share.most !== null && html`<dd><progress max=${share.most} value=${Math.min(share.taken ?? 0, share.most)} aria-label=${share.name}></progress></dd>`}
          ${share.note && html`<dd class="hint">${share.note}</dd>`}
        </div>
      `)}
    </dl>
  `;
}
