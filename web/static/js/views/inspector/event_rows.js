// Events in rows. A click on a type, a stream, a person or a correlation looks at that alone.
import { html } from "../../html.js";
import { go } from "../../route.js";
import { clock, exact } from "../../inspector/spans.js";
import { Table } from "../table.js";
import { Marks } from "./marks.js";
import { actorOf, ownerOf, shortId, useUsers } from "./who.js";

/** @import { Filters } from "../../inspector/filters.js" */
/** @import { LoggedEvent } from "../../inspector/types.js" */

/**
 * @param {object} props
 * @param {LoggedEvent[]} props.events
 * @param {(event: LoggedEvent) => string} props.hrefOf where one is shown in full
 * @param {(only: Partial<Filters>) => string} props.filtered where those are shown that fit this besides
 */
export function EventRows({ events, hrefOf, filtered }) {
  const users = useUsers();
  /** @param {Partial<Filters>} only @param {string} label @param {string} title @param {string} [kind] */
  const filter = (only, label, title, kind = "") => html`<button type="button" class="link plain ${kind}" title=${title} onClick=${() => go(filtered(only))}>${label}</button>`;

  /** @type {import("../table.js").Column<LoggedEvent>[]} */
  const columns = [
    { label: "Event", kind: "main", cell: (e) => html`<a class="event-link" href=${hrefOf(e)} title=${exact(e.time_us)} aria-label="Event ${e.position}, ${e.type}, ${clock(e.time)}"><span class="at">${clock(e.time)}</span> <span class="sub">#${e.position}</span></a>` },
    { label: "Type", cell: (e) => html`${filter({ types: [e.type] }, e.type, `Only ${e.type}`, "type")}<${Marks} event=${e} />` },
    { label: "Who", cell: (e) => html`<${Who} event=${e} users=${users} filter=${filter} />` },
    { label: "Stream", cell: (e) => filter({ stream: e.stream, prefix: "" }, shortStream(e.stream), `Only ${e.stream}`, "mono") },
    { label: "Correlation", kind: "short", cell: (e) => e.correlation && filter({ correlation: e.correlation }, e.correlation.length > 12 ? e.correlation.slice(0, 8) : e.correlation, `Only what belongs together as ${e.correlation}`, "mono") },
  ];
  return html`<${Table} caption="Events" columns=${columns} rows=${events} keyOf=${(/** @type {LoggedEvent} */ e) => String(e.position)} empty="No event fits." />`;
}

/** @param {{event: LoggedEvent, users: Map<string, any>, filter: (only: Partial<Filters>, label: string, title: string) => unknown}} props */
function Who({ event, users, filter }) {
  const { label, user } = actorOf(users, event);
  const about = event.owner && event.owner !== user && ownerOf(event);
  return html`
    ${user ? filter({ user }, label, `Only by or about ${label}`) : label}
    ${about && html` <span class="sub">about ${filter({ user: event.owner }, about, `Only by or about ${about}`)}</span>`}
  `;
}

/** @param {string} stream its kind and the end of its id */
function shortStream(stream) {
  const [kind, ...id] = stream.split(":");
  return id.length ? `${kind}:${id.join(":").length > 20 ? shortId(id.join(":")) : id.join(":")}` : kind;
}
