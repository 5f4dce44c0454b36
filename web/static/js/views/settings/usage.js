// What a person's agents did in a month.
import { useState } from "preact/hooks";
import { utcDay } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { agents, backends } from "../../store.js";
import { grouped, month } from "../../usage.js";
import { Loaded } from "../loaded.js";
import { Table } from "../table.js";
import { Budget } from "../budget.js";
import { OwnRoom } from "./own_room.js";
import { MonthChoice, sumColumns, Tiles } from "../usage.js";

/** @import { Usage, UsageRow } from "../../types.js" */

export function MyUsage() {
  const [back, setBack] = useState(0);
  const { since, until } = month(back);
  const usage = /** @type {import("../../load.js").Resource<Usage>} */ (useLoad(`/api/me/usage?since=${since}&until=${until}`));
  return html`
    <${MonthChoice} back=${back} choose=${setBack} />
    <${Loaded} of=${usage}>
      ${(/** @type {Usage} */ found) => html`
        ${back === 0 && found.budget.monthly_tokens !== null && html`<${Budget} budget=${found.budget} />`}
        <${Tiles} totals=${found.totals} />
        ${back === 0 && html`<${OwnRoom} room=${found.room} most=${found.most} reload=${usage.reload} />`}
        <${Days} rows=${found.rows} />
      `}
    <//>
  `;
}

/** @param {{rows: UsageRow[]}} props */
function Days({ rows }) {
  const days = grouped(rows, (r) => `${r.day} ${r.agent_id}`).sort((a, b) => b.day.localeCompare(a.day));
  return html`
    <${Table} caption="Usage by day and agent" columns=${COLUMNS} rows=${days} keyOf=${(/** @type {{key: string}} */ r) => r.key} empty="Nothing was used in this month." />
  `;
}

/** @type {import("../table.js").Column<UsageRow>[]} */
const COLUMNS = [
  { label: "Day", kind: "main", cell: (r) => utcDay(r.day) },
  { label: "Agent", cell: (r) => agentName(r) },
  ...sumColumns(),
];

/** @param {UsageRow} row */
function agentName(row) {
  const backend = backends.value.find((b) => b.name === row.backend)?.display_name ?? row.backend;
  return agents.value.find((a) => a.id === row.agent_id)?.name ?? html`${backend} <span class="sub">deleted</span>`;
}
