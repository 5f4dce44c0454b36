// What takes how much room.
import { bytes, whole } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { eventsHash } from "../../inspector/filters.js";
import { Loaded } from "../loaded.js";
import { Table } from "../table.js";

/** @import { Disk } from "../../inspector/types.js" */
/** @typedef {Disk["kinds"][0]} Kind */
/** @typedef {Disk["events"][0]} Size */

export function DiskUse() {
  const disk = /** @type {import("../../load.js").Resource<Disk>} */ (useLoad("/api/admin/disk"));
  return html`
    <section class="card" aria-labelledby="disk">
      <div class="row">
        <h2 id="disk">Disk</h2>
        <button type="button" class="small" disabled=${disk.busy} onClick=${disk.reload}>Measure again</button>
      </div>
      <${Loaded} of=${disk}>
        ${(/** @type {Disk} */ found) => html`
          <p>${bytes(found.total)} in the data folder, ${bytes(found.free)} free.</p>
          <${Table} caption="Disk use by kind" columns=${kinds(found)} rows=${[...found.kinds].sort((a, b) => b.bytes - a.bytes)} keyOf=${(/** @type {Kind} */ k) => k.kind} empty="There is nothing." />
          <h3>Events by type</h3>
          <${Table} caption="Size of events by type" columns=${sizes(found)} rows=${found.events} keyOf=${(/** @type {Size} */ s) => s.type} empty="There are no events." />
        `}
      <//>
    </section>
  `;
}

/** @param {Disk} disk @returns {import("../table.js").Column<Kind>[]} */
const kinds = (disk) => [
  { label: "Kind", kind: "main", cell: (k) => k.kind.charAt(0).toUpperCase() + k.kind.slice(1) },
  { label: "Files", kind: "number", cell: (k) => whole(k.files) },
  { label: "Size", kind: "number", cell: (k) => bytes(k.bytes) },
  { label: "Share", cell: (k) => html`<${Share} part=${k.bytes} of=${disk.total} />` },
];

/** @param {Disk} disk @returns {import("../table.js").Column<Size>[]} */
const sizes = (disk) => [
  { label: "Type", kind: "main", cell: (s) => html`<a href=${eventsHash({ types: [s.type] })}>${s.type}</a>` },
  { label: "Events", kind: "number", cell: (s) => whole(s.count) },
  { label: "Size", kind: "number", cell: (s) => bytes(s.bytes) },
  { label: "Share", cell: (s) => html`<${Share} part=${s.bytes} of=${disk.events.reduce((sum, other) => sum + other.bytes, 0)} />` },
];

/** @param {{part: number, of: number}} props */
function Share({ part, of }) {
  const percent = of ? Math.round((part / of) * 100) : 0;
  return html`<span class="share"><progress aria-hidden="true" max="100" value=${percent}></progress> <span class="numbers">${percent} %</span></span>`;
}
