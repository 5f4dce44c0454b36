// What runs now, for whom, and stopping it.
import { call } from "../../api.js";
import { ago, count, duration } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { tell } from "../../store.js";
import { Loaded } from "../loaded.js";
import { Dot, WORDS } from "../runner.js";
import { Table } from "../table.js";

/** @import { Runner } from "../../types.js" */

const REFRESH_MS = 5000;

export function Runners() {
  const runners = /** @type {import("../../load.js").Resource<{runners: Runner[]}>} */ (useLoad("/api/admin/runners", REFRESH_MS));

  /** The server stops all of a person's runners of one kind together. @param {Runner} runner */
  async function stop(runner) {
    const all = (runners.data?.runners ?? []).filter((r) => r.user_id === runner.user_id && r.backend === runner.backend);
    const names = all.map((r) => r.agent_name).join(" and ");
    if (!confirm(`Stop ${names} of ${runner.email}? Answers being written end here.`)) return;
    await call("DELETE", `/api/admin/runners/${runner.user_id}/${runner.backend}`).catch(tell);
    await runners.reload();
  }

  /** @type {import("../table.js").Column<Runner>[]} */
  const columns = [
    { label: "User", kind: "main", cell: (r) => r.email },
    { label: "Agent", cell: (r) => html`${r.agent_name} <code class="sub">${r.container_name}</code>` },
    { label: "State", kind: "short", cell: (r) => html`<span class="state"><${Dot} state=${r.state} /> ${WORDS[r.state] ?? r.state}</span>` },
    { label: "Started", kind: "short", cell: (r) => (r.started_at ? ago(r.started_at) : "–") },
    { label: "Idle for", kind: "number", cell: (r) => (r.idle_for_seconds ? duration(r.idle_for_seconds) : "–") },
    { label: "Stops in", kind: "number", cell: (r) => (r.stops_in_seconds === null ? "–" : duration(r.stops_in_seconds)) },
    { label: "Actions", kind: "actions", cell: (r) => html`<button type="button" class="small" disabled=${r.state === "stopping"} aria-label="Stop ${r.agent_name} of ${r.email}" onClick=${() => stop(r)}>Stop</button>` },
  ];

  return html`
    <${Loaded} of=${runners}>
      ${(/** @type {{runners: Runner[]}} */ found) => html`
        <p class="hint">${count(found.runners.length, "runner")}. One without a time to stop is in use, or set to run for ever.</p>
        <${Table} caption="Runners" columns=${columns} rows=${found.runners} keyOf=${(/** @type {Runner} */ r) => r.agent_id} empty="Nothing runs." />
      `}
    <//>
  `;
}
