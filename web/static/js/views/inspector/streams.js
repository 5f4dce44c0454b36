// Which streams there are, and one of them.
import { ago, moment, whole } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { go } from "../../route.js";
import { queryOf, streamHash } from "../../inspector/filters.js";
import { Loaded } from "../loaded.js";
import { Table } from "../table.js";
import { TextField } from "./filter_bar.js";
import { Pager, usePages } from "./pager.js";
import { StreamView } from "./stream.js";
import { UserField } from "./user_field.js";
import { ownerOf } from "./who.js";

/** @import { Stream } from "../../inspector/types.js" */
/** @typedef {{prefix: string, user: string, order: string}} Wanted */

const LIMIT = 50;

/** @param {{query: URLSearchParams}} props of the page's address */
export function Streams({ query }) {
  const stream = query.get("stream");
  if (stream) return html`<${StreamView} key=${stream} stream=${stream} version=${Number(query.get("version")) || 0} />`;
  const user = query.get("user") ?? "";
  const wanted = { prefix: query.get("prefix") ?? "", user, order: query.get("order") ?? "" };
  return html`<${List} key=${JSON.stringify(wanted)} wanted=${wanted} />`;
}

/** @param {Wanted} wanted */
const hashOf = ({ order, ...filters }) => `#/admin/events/streams?${queryOf(filters, { order })}`;

/** @param {{wanted: Wanted}} props */
function List({ wanted }) {
  const pages = usePages();
  const { order, ...filters } = wanted;
  const streams = /** @type {import("../../load.js").Resource<{streams: Stream[], more: boolean}>} */ (
    useLoad(`/api/admin/streams?${queryOf(filters, { order, before: pages.before, limit: LIMIT })}`)
  );
  /** @param {Partial<Wanted>} change */
  const set = (change) => go(hashOf({ ...wanted, ...change }));

  /** @type {import("../table.js").Column<Stream>[]} */
  const columns = [
    { label: "Stream", kind: "main", cell: (s) => html`<a class="mono" href=${streamHash(s.stream)}>${s.stream}</a>` },
    { label: "About", cell: (s) => s.owner && html`<button type="button" class="link plain" title="Only about this user" onClick=${() => set({ user: s.owner })}>${ownerOf(s)}</button>` },
    { label: "Changes", kind: "number", cell: (s) => whole(s.version) },
    { label: "Changed", kind: "short", cell: (s) => html`<span title=${moment(s.changed_at)}>${ago(s.changed_at)}</span>` },
  ];
  return html`
    <section class="card filters" aria-label="Filters">
      <form class="filter-fields open" role="search" onSubmit=${(/** @type {Event} */ e) => e.preventDefault()}>
        <label>Stream begins with<${TextField} value=${wanted.prefix} placeholder="conversation:" commit=${(/** @type {string} */ prefix) => set({ prefix })} /></label>
        <${UserField} chosen=${wanted.user} choose=${(/** @type {string} */ user) => set({ user })} />
        <label>
          Order
          <select onChange=${(/** @type {any} */ e) => set({ order: e.target.value })}>
            <option value="" selected=${!order}>Changed last</option>
            <option value="changes" selected=${order === "changes"}>Most changes</option>
          </select>
        </label>
      </form>
    </section>
    <${Loaded} of=${streams}>
      ${(/** @type {{streams: Stream[], more: boolean}} */ found) => html`
        <${Table} caption="Streams" columns=${columns} rows=${found.streams} keyOf=${(/** @type {Stream} */ s) => s.stream} empty="No stream fits." />
        ${order ? found.more && html`<p class="hint">These are the ${LIMIT} with the most changes.</p>` : html`<${Pager} pages=${pages} more=${found.more} last=${found.streams.at(-1)?.position ?? 0} />`}
      `}
    <//>
  `;
}
