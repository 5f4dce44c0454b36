// One event in full.
import { count } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { go } from "../../route.js";
import { chainOf } from "../../inspector/chain.js";
import { eventsHash, streamHash } from "../../inspector/filters.js";
import { clock, exact } from "../../inspector/spans.js";
import { Dialog } from "../dialog.js";
import { Loaded } from "../loaded.js";
import { Chain } from "./chain.js";
import { Fields } from "./fields.js";
import { actorOf, ownerOf, useUsers } from "./who.js";

/** @import { Filters } from "../../inspector/filters.js" */
/** @import { Commit, LoggedEvent, OneEvent } from "../../inspector/types.js" */

/** @param {{position: number, filters: Filters, before: number}} props the filters and the page of the list below */
export function EventDialog({ position, filters, before }) {
  const one = /** @type {import("../../load.js").Resource<OneEvent>} */ (useLoad(`/api/admin/events/${position}`));
  const type = one.data?.event.position === position ? ` ${one.data.event.type}` : "";
  /** @param {number} other */
  const hrefOf = (other) => eventsHash(filters, { before, event: other });
  return html`
    <${Dialog} title=${`#${position}${type}`} onClose=${() => go(eventsHash(filters, { before }))}>
      <div class="event">
        <${Loaded} of=${one}>
          ${(/** @type {OneEvent} */ found) => html`
            ${found.event.erased && html`
              <div class="callout" role="note"><strong>Erased.</strong> The person whom this event is about was deleted, and the key of its private parts with them: they are blank for ever.</div>
            `}
            ${found.event.problem && html`
              <div class="callout" role="note"><strong>Cannot be read as it was written.</strong> ${found.event.problem}</div>
            `}
            <${Envelope} event=${found.event} hrefOf=${hrefOf} />
            <section aria-labelledby="payload"><h3 id="payload">Payload</h3><${Fields} of=${found.event.payload} erased=${found.event.erased} none=${found.event.problem ? "It cannot be shown." : "Nothing."} /></section>
            <section aria-labelledby="chain">
              <h3 id="chain">What belongs together</h3>
              <${Chain} roots=${chainOf(found)} current=${position} hrefOf=${hrefOf} />
            </section>
            <${CommitPart} commit=${found.commit} />
          `}
        <//>
      </div>
    <//>
  `;
}

/** @param {{event: LoggedEvent, hrefOf: (position: number) => string}} props */
function Envelope({ event, hrefOf }) {
  const users = useUsers();
  const actor = actorOf(users, event);
  /** @param {string} user @param {string} label */
  const person = (user, label) => html`<a href=${eventsHash({ user })}>${label}</a>`;
  return html`
    <section aria-label="Envelope">
      <dl class="pairs">
        <div><dt>Time</dt><dd>${exact(event.time_us)}</dd></div>
        <div><dt>Stream</dt><dd><a class="mono" href=${streamHash(event.stream, event.version)}>${event.stream}</a>, version ${event.version}</dd></div>
        <div><dt>By</dt><dd>${actor.user ? person(actor.user, actor.label) : actor.label} <code class="sub">${event.actor}</code></dd></div>
        ${event.owner && html`<div><dt>About</dt><dd>${person(event.owner, ownerOf(event))} <code class="sub">${event.owner}</code></dd></div>`}
        <div><dt>Correlation</dt><dd>${event.correlation ? html`<a class="mono" href=${eventsHash({ correlation: event.correlation })}>${event.correlation}</a>` : "None"}</dd></div>
        <div><dt>Caused by</dt><dd>${event.causation === null ? "No other event" : html`<a href=${hrefOf(event.causation)}>#${event.causation}</a>`}</dd></div>
      </dl>
    </section>
  `;
}

/** @param {{commit: Commit | null}} props */
function CommitPart({ commit }) {
  if (!commit) return null;
  const { first, last, at, hash } = commit;
  return html`
    <section aria-labelledby="commit">
      <h3 id="commit">Commit</h3>
      <dl class="pairs">
        <div><dt>Events</dt><dd>${first === last ? `#${first} alone` : `#${first} to #${last}, ${count(last - first + 1, "event")} at once`}</dd></div>
        <div><dt>Written</dt><dd>${clock(at)}</dd></div>
        <div><dt>Hash</dt><dd><code>${hash}</code></dd></div>
      </dl>
    </section>
  `;
}
