// Which events there are: filtered, counted over time, in rows, one in full.
import { useRef } from "preact/hooks";
import { call } from "../../api.js";
import { count } from "../../format.js";
import { html } from "../../html.js";
import { useAction, useLoad } from "../../load.js";
import { go } from "../../route.js";
import { eventsHash, NONE, queryOf, readFilters, used } from "../../inspector/filters.js";
import { merged, useTail } from "../../inspector/tail.js";
import { Failure } from "../failure.js";
import { down } from "../icons.js";
import { Loaded } from "../loaded.js";
import { EventDialog } from "./event.js";
import { EventRows } from "./event_rows.js";
import { FilterBar } from "./filter_bar.js";
import { TimelineCard } from "./timeline.js";

/** @import { Filters } from "../../inspector/filters.js" */
/** @import { EventList, LoggedEvent } from "../../inspector/types.js" */

const LIMIT = 50;

/** @param {{query: URLSearchParams}} props of the page's address */
export function Events({ query }) {
  const filters = readFilters(query);
  const before = Number(query.get("before")) || 0;
  const opened = Number(query.get("event")) || 0;
  const wanted = queryOf(filters);
  const page = /** @type {import("../../load.js").Resource<EventList>} */ (useLoad(`/api/admin/events?${queryOf(filters, { before, limit: LIMIT })}`));
  const tail = useTail({ query: wanted, on: !before && !filters.until, head: page.data?.head, reload: page.reload });
  const top = useRef(/** @type {HTMLElement | null} */ (null));
  const newer = useAction();

  /** @param {Partial<Filters>} change */
  const filtered = (change) => eventsHash({ ...filters, ...change });

  /** @param {number} position */
  function turnTo(position) {
    go(eventsHash(filters, { before: position }));
    top.current?.scrollIntoView({ block: "start" });
  }

  /** The page that ends where this one begins. @param {number} first */
  const back = (first) =>
    newer.run(async () => {
      const found = await call("GET", `/api/admin/events?${queryOf(filters, { after: first, order: "oldest", limit: LIMIT })}`);
      turnTo(found.more ? found.events.at(-1).position + 1 : 0);
    });

  return html`
    <${FilterBar} filters=${filters} filtered=${filtered} />
    <${TimelineCard} filters=${filters} filtered=${filtered} />
    <div class="row list-head" ref=${top}>
      <${Live} tail=${tail} on=${!before && !filters.until} />
      <div class="buttons">
        ${used(filters) > 0 && html`<button type="button" class="small" onClick=${() => go(eventsHash(NONE))}>Clear the filters</button>`}
        <a class="button small" href="/api/admin/events/export?${wanted}" download="events.ndjson">${down} Export as NDJSON</a>
      </div>
    </div>
    <${Loaded} of=${page}>
      ${(/** @type {EventList} */ found) => {
        const rows = before ? found.events : merged(tail.fresh, found.events);
        return html`
          <${EventRows} events=${rows} filtered=${filtered} hrefOf=${(/** @type {LoggedEvent} */ e) => eventsHash(filters, { before, event: e.position })} />
          <nav class="buttons pager" aria-label="Pages">
            ${before > 0 && html`<button type="button" onClick=${() => turnTo(0)}>Newest</button>`}
            ${before > 0 && html`<button type="button" disabled=${newer.busy} onClick=${() => back(rows[0]?.position ?? before - 1)}>Newer</button>`}
            ${found.more && html`<button type="button" onClick=${() => turnTo(rows[rows.length - 1].position)}>Older</button>`}
            <${Failure} error=${newer.error} />
          </nav>
        `;
      }}
    <//>
    ${opened > 0 && html`<${EventDialog} position=${opened} filters=${filters} before=${before} />`}
  `;
}

/** @param {{tail: ReturnType<typeof useTail>, on: boolean}} props */
function Live({ tail, on }) {
  if (!on) return html`<p class="hint">Older events. New ones are shown on the newest page of a span without an end.</p>`;
  const { paused, waiting, connected } = tail;
  return html`
    <div class="buttons live">
      <button type="button" class="small" onClick=${paused ? tail.resume : tail.pause}>${paused ? "Resume" : "Pause"}</button>
      <span class="state" role="status">
        <span class=${paused || !connected ? "dot" : "dot ready"}></span>
        ${paused ? (waiting ? `Paused: ${count(waiting, "new event")}` : "Paused: nothing new") : connected ? "Live" : "Connecting…"}
      </span>
    </div>
  `;
}
