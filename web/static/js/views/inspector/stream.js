// One stream: what it adds up to at any version, and its events.
import { count, moment } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { eventsHash, queryOf, streamHash } from "../../inspector/filters.js";
import { clock, exact } from "../../inspector/spans.js";
import { leaveFor } from "../../route.js";
import { Loaded } from "../loaded.js";
import { Table } from "../table.js";
import { Pager, usePages } from "./pager.js";
import { StateDifference } from "./difference.js";
import { Stepper } from "./stepper.js";
import { Marks } from "./marks.js";
import { actorOf, ownerOf, useUsers } from "./who.js";

/** @import { DatedStream, EventList, LoggedEvent, StreamState } from "../../inspector/types.js" */

const LIMIT = 20;

/** @param {{stream: string, version: number}} props version 0 is the newest */
export function StreamView({ stream, version }) {
  const path = `/api/admin/streams/${encodeURIComponent(stream)}`;
  const about = /** @type {import("../../load.js").Resource<DatedStream>} */ (useLoad(path));
  const state = /** @type {import("../../load.js").Resource<StreamState>} */ (useLoad(`${path}/state?${queryOf({}, { version })}`));
  const users = useUsers();
  return html`
    <section class="card" aria-labelledby="stream">
      <p class="hint"><a href="#/admin/events/streams">All streams</a></p>
      <h2 id="stream" class="mono">${stream}</h2>
      <${Loaded} of=${about}>
        ${(/** @type {DatedStream} */ s) => html`
          <dl class="pairs wide">
            ${s.owner && html`<div><dt>About</dt><dd><a href="#/admin/events/streams?${queryOf({ user: s.owner })}">${ownerOf(s)}</a></dd></div>`}
            <div><dt>Began</dt><dd>${moment(s.created_at)}</dd></div>
            <div><dt>Changed</dt><dd>${moment(s.changed_at)}</dd></div>
            <div><dt>Changes</dt><dd>${count(s.version, "event")} <a href=${eventsHash({ stream })}>Show among all events</a></dd></div>
          </dl>
        `}
      <//>
    </section>
    <section class="card" aria-labelledby="state">
      <${Loaded} of=${state}>
        ${(/** @type {StreamState} */ s) => html`
          <${Stepper} version=${s.version} newest=${Math.max(about.data?.version ?? 0, s.version)} step=${(/** @type {number} */ n) => leaveFor(streamHash(stream, n))} />
          <p><a href=${eventsHash({ stream }, { event: s.event.position })}>#${s.event.position} ${s.event.type}</a> by ${actorOf(users, s.event).label}, ${exact(s.event.time_us)}<${Marks} event=${s.event} /></p>
          ${s.event.problem && html`<p class="error">${s.event.problem}</p>`}
          <${StateDifference} key=${stream} before=${s.previous} after=${s.state} version=${s.version} />
        `}
      <//>
    </section>
    <${StreamEvents} stream=${stream} version=${state.data?.version ?? 0} />
  `;
}

/** @param {{stream: string, version: number}} props */
function StreamEvents({ stream, version }) {
  const users = useUsers();
  const pages = usePages();
  const events = /** @type {import("../../load.js").Resource<EventList>} */ (useLoad(`/api/admin/events?${queryOf({ stream }, { before: pages.before, limit: LIMIT })}`));
  /** @type {import("../table.js").Column<LoggedEvent>[]} */
  const columns = [
    { label: "Version", kind: "main", cell: (e) => html`<a href=${streamHash(stream, e.version)} aria-current=${e.version === version ? "true" : undefined}>Version ${e.version}</a>` },
    { label: "Type", cell: (e) => html`${e.type}<${Marks} event=${e} />` },
    { label: "By", cell: (e) => actorOf(users, e).label },
    { label: "Time", kind: "short", cell: (e) => html`<span title=${exact(e.time_us)}>${clock(e.time)}</span>` },
    { label: "Event", kind: "number", cell: (e) => html`<a href=${eventsHash({ stream }, { event: e.position })}>#${e.position}</a>` },
  ];
  return html`
    <h2>Its events</h2>
    <${Loaded} of=${events}>
      ${(/** @type {EventList} */ found) => html`
        <${Table} caption="Events of this stream" columns=${columns} rows=${found.events} keyOf=${(/** @type {LoggedEvent} */ e) => String(e.position)} />
        <${Pager} pages=${pages} more=${found.more} last=${found.events.at(-1)?.position ?? 0} />
      `}
    <//>
  `;
}
