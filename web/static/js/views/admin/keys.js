// Which of the admin's own values everybody's agents may use.
import { call } from "../../api.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { tell } from "../../store.js";
import { Loaded } from "../loaded.js";
import { Table } from "../table.js";

/** @import { SharedKeys as Shared } from "../../types.js" */
/** @typedef {{name: string, shared: boolean, has: boolean}} Row */

export function SharedKeys() {
  const keys = /** @type {import("../../load.js").Resource<Shared>} */ (useLoad("/api/admin/shared-env"));

  /** @param {Row} row */
  const toggle = (row) => call("PUT", `/api/admin/shared-env/${encodeURIComponent(row.name)}`, { shared: !row.shared }).catch(tell).finally(keys.reload);

  /** @type {import("../table.js").Column<Row>[]} */
  const columns = [
    { label: "Variable", kind: "main", cell: (r) => html`<code>${r.name}</code>` },
    {
      label: "Your value for all agents",
      cell: (r) => (r.has ? html`<span class="badge own">Set</span>` : html`<span class=${r.shared ? "badge bad" : "badge"}>Not set</span> <a href="#/settings/keys">Set it</a>`),
    },
    { label: "Shared", cell: (r) => html`<label class="check"><input type="checkbox" role="switch" aria-label="Share ${r.name}" checked=${r.shared} disabled=${keys.busy} onChange=${() => toggle(r)} /> ${state(r)}</label>` },
  ];

  return html`
    <p class="hint">
      Everybody's agents work with the values that you share, wherever they have none of their own. Nobody can read them here, but agents can: share a key only with people whom you would give it to.
      You set the values under “All my agents” in <a href="#/settings/keys">your own keys</a>.
    </p>
    <${Loaded} of=${keys}>
      ${(/** @type {Shared} */ found) => {
        const rows = found.vars.map((name) => ({ name, shared: found.shared[name] ?? false, has: found.admin_has_value[name] ?? false }));
        return html`<${Table} caption="Variables" columns=${columns} rows=${rows} keyOf=${(/** @type {Row} */ r) => r.name} empty="None of the agents here needs keys." />`;
      }}
    <//>
  `;
}

/** @param {Row} row */
function state({ shared, has }) {
  if (!shared) return "Only for you";
  return has ? "With everybody" : "With everybody, once it is set";
}
