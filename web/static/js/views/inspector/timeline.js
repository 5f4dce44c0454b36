// How many events of which types came when: a chart, and the same in words.
import { useMemo, useState } from "preact/hooks";
import { count, whole } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { go } from "../../route.js";
import { queryOf } from "../../inspector/filters.js";
import { length, PRESETS, span } from "../../inspector/spans.js";
import { stacksOf } from "../../inspector/stacks.js";
import { Loaded } from "../loaded.js";
import { Chart } from "./chart.js";
import { SpanTable } from "./span_table.js";

/** @import { Filters } from "../../inspector/filters.js" */
/** @import { Timeline } from "../../inspector/types.js" */
/** @typedef {{filters: Filters, filtered: (change: Partial<Filters>) => string}} Props */

const REFRESH_MS = 15_000;
const BUCKETS = 60;

/** @param {Props} props */
export function TimelineCard({ filters, filtered }) {
  const path = `/api/admin/events/timeline?${queryOf(filters, { buckets: BUCKETS })}`;
  const timeline = /** @type {import("../../load.js").Resource<Timeline>} */ (useLoad(path, filters.until ? 0 : REFRESH_MS));

  /** @param {number} seconds */
  const last = (seconds) => go(filtered({ since: String(Math.floor(Date.now() / 1000) - seconds), until: "" }));

  return html`
    <section class="card timeline" aria-labelledby="timeline">
      <div class="row">
        <h2 id="timeline">${filters.since || filters.until ? "Over time" : "The last 24 hours"}</h2>
        <div class="buttons" role="group" aria-label="Span">
          ${PRESETS.map((p) => html`<button type="button" class="small" key=${p.seconds} aria-label="The last ${p.label}" onClick=${() => last(p.seconds)}>${p.label}</button>`)}
          <button type="button" class="small" disabled=${!filters.since && !filters.until} onClick=${() => go(filtered({ since: "", until: "" }))}>Any time</button>
        </div>
      </div>
      <${Loaded} of=${timeline}>${(/** @type {Timeline} */ found) => html`<${Counts} found=${found} filtered=${filtered} />`}<//>
    </section>
  `;
}

/** @param {{found: Timeline, filtered: Props["filtered"]}} props */
function Counts({ found, filtered }) {
  const stacks = useMemo(() => stacksOf(found), [found]);
  const [hovered, hover] = useState(/** @type {number | null} */ (null));
  const n = hovered !== null && hovered < stacks.size ? hovered : null;
  const begin = stacks.start + (n ?? 0) * stacks.seconds;
  const sum = n === null ? stacks.total : stacks.layers.reduce((all, layer) => all + layer.counts[n], 0);

  /** @param {number} since @param {number} until */
  const choose = (since, until) => go(filtered({ since: String(since), until: String(until) }));

  return html`
    <${Chart} stacks=${stacks} onHover=${hover} onChoose=${choose} label=${`${count(stacks.total, "event")} from ${span(found.since, found.until)}, by type. The table below tells the same.`} />
    <p class="hint">${n === null ? `${count(sum, "event")}, ${span(found.since, found.until)}; a bar is ${length(stacks.seconds)}. Click a bar or drag over some to look closer.` : `${count(sum, "event")}, ${span(begin, begin + stacks.seconds)}`}</p>
    <ul class="legend" aria-label="Types in this span">
      ${stacks.layers.map(
        (layer, i) => html`
          <li key=${layer.name}>
            <button type="button" class="link plain" title="Only ${layer.types.join(", ")}" onClick=${() => go(filtered({ types: layer.types }))}><span class="swatch colour-${i}"></span>${layer.name}</button>
            <span class="numbers">${whole(n === null ? layer.total : layer.counts[n])}</span>
          </li>
        `,
      )}
    </ul>
    <${SpanTable} found=${found} choose=${choose} />
  `;
}
