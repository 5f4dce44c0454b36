// What everybody's agents did in a month.
import { useState } from "preact/hooks";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { grouped, month } from "../../usage.js";
import { Loaded } from "../loaded.js";
import { Table } from "../table.js";
import { MonthChoice, sumColumns, Tiles } from "../usage.js";

/** @import { AllUsage as Everything, MemberRow } from "../../types.js" */

export function AllUsage() {
  const [back, setBack] = useState(0);
  const { since, until } = month(back);
  const usage = /** @type {import("../../load.js").Resource<Everything>} */ (useLoad(`/api/admin/usage?since=${since}&until=${until}`));
  return html`
    <${MonthChoice} back=${back} choose=${setBack} />
    <${Loaded} of=${usage}>
      ${(/** @type {Everything} */ found) => html`<${Tiles} totals=${found.totals} /><${Users} rows=${found.rows} />`}
    <//>
  `;
}

/** @param {{rows: MemberRow[]}} props */
function Users({ rows }) {
  const users = grouped(rows, (r) => r.user_id).sort((a, b) => spent(b) - spent(a) || b.requests - a.requests);
  return html`
    <${Table} caption="Usage by user" columns=${COLUMNS} rows=${users} keyOf=${(/** @type {{key: string}} */ r) => r.key} empty="Nothing was used in this month." />
  `;
}

/** @param {MemberRow} row */
const spent = (row) => row.prompt_tokens + row.completion_tokens;

/** @type {import("../table.js").Column<MemberRow>[]} */
const COLUMNS = [{ label: "User", kind: "main", cell: (r) => r.email || html`${r.user_id} <span class="sub">deleted</span>` }, ...sumColumns()];
