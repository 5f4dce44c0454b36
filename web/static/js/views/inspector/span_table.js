// The timeline as a table: for whoever does not see the chart, or has no mouse.
import { count, whole } from "../../format.js";
import { html } from "../../html.js";
import { span } from "../../inspector/spans.js";
import { Table } from "../table.js";

/** @import { Timeline } from "../../inspector/types.js" */
/** @typedef {Timeline["buckets"][0]} Bucket */

/** @param {{found: Timeline, choose: (since: number, until: number) => void}} props */
export function SpanTable({ found, choose }) {
  /** @type {import("../table.js").Column<Bucket>[]} */
  const columns = [
    { label: "Span", kind: "main", cell: (b) => html`<button type="button" class="link plain" title="Look closer" onClick=${() => choose(b.at, b.at + found.seconds)}>${span(b.at, b.at + found.seconds)}</button>` },
    { label: "Events", kind: "number", cell: (b) => whole(sum(b)) },
    { label: "Of which", cell: (b) => Object.entries(b.counts).sort((x, y) => y[1] - x[1]).map(([type, n]) => `${n} ${type}`).join(", ") },
  ];
  const rows = [...found.buckets].reverse();
  return html`
    <details class="as-table">
      <summary>As a table (${count(rows.length, "span")} with events)</summary>
      <${Table} caption="Events by span and type" columns=${columns} rows=${rows} keyOf=${(/** @type {Bucket} */ b) => String(b.at)} empty="There were no events." />
    </details>
  `;
}

/** @param {Bucket} bucket */
const sum = (bucket) => Object.values(bucket.counts).reduce((all, n) => all + n, 0);
