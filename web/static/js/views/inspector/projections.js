// The read models: how far each is, and making one anew.
import { useEffect, useState } from "preact/hooks";
import { call } from "../../api.js";
import { whole } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { tell } from "../../store.js";
import { Loaded } from "../loaded.js";
import { Table } from "../table.js";

/** @import { Projection } from "../../inspector/types.js" */
/** @typedef {{head: number, projections: Projection[]}} Found */

const SLOW_MS = 5000;
const QUICK_MS = 700;

export function Projections() {
  const [asked, setAsked] = useState("");
  const [done, setDone] = useState(""); // Its name.
  const list = /** @type {import("../../load.js").Resource<Found>} */ (useLoad("/api/admin/projections", asked ? QUICK_MS : SLOW_MS));
  const running = list.data?.projections.some((p) => p.rebuilding) ?? false;

  useEffect(() => {
    const one = list.data?.projections.find((p) => p.name === asked);
    if (!one || one.rebuilding || list.busy) return;
    if (!one.error) setDone(asked);
    setAsked("");
  }, [list.data]);

  /** @param {string} name */
  async function rebuild(name) {
    setDone("");
    await call("POST", `/api/admin/projections/${encodeURIComponent(name)}/rebuild`).then(() => setAsked(name)).catch(tell);
    await list.reload();
  }

  /** @type {import("../table.js").Column<Projection>[]} */
  const columns = [
    { label: "Read model", kind: "main", cell: (p) => html`${p.name} <span class="sub">version ${p.version}</span> ${p.name === done && html`<span class="done">Made anew from the log.</span>`} ${p.error && html`<span class="error" role="alert">${p.error}</span>`}` },
    { label: "Position", kind: "number", cell: (p) => html`<span class=${list.data && p.position < list.data.head ? "error" : ""}>${whole(p.position)}</span>` },
    { label: "Saved", kind: "number", cell: (p) => html`${whole(p.saved_position)} ${p.lag > 0 && html`<span class="sub">${whole(p.lag)} behind</span>`}` },
    { label: "Rows", kind: "number", cell: (p) => whole(p.rows) },
    { label: "Speed of rebuilding", kind: "number", cell: (p) => (p.events_per_second ? `${whole(p.events_per_second)} a second` : "–") },
    { label: "Actions", kind: "actions", cell: (p) => html`<${Rebuild} of=${p} disabled=${running || asked !== ""} rebuild=${() => rebuild(p.name)} />` },
  ];
  return html`
    <section class="card" aria-labelledby="read-models">
      <h2 id="read-models">Read models</h2>
      <p class="hint">What the pages show is made of the log and kept in memory; copies are saved from time to time, so that a start need not read everything. One can be made anew while it is in use.</p>
      <p class="unseen" role="status">${done && `${done} was made anew from the log.`}</p>
      <${Loaded} of=${list}>
        ${(/** @type {Found} */ found) => html`
          <p>The log is at #${whole(found.head)}.</p>
          <${Table} caption="Read models" columns=${columns} rows=${found.projections} keyOf=${(/** @type {Projection} */ p) => p.name} />
        `}
      <//>
    </section>
  `;
}

/** @param {{of: Projection, disabled: boolean, rebuild: () => void}} props */
function Rebuild({ of, disabled, rebuild }) {
  const { name, rebuilding } = of;
  if (!rebuilding) return html`<button type="button" class="small" disabled=${disabled} aria-label="Rebuild ${name}" onClick=${rebuild}>Rebuild</button>`;
  return html`<span class="rebuilding"><progress aria-label="Rebuilding ${name}" max=${Math.max(rebuilding.total, 1)} value=${rebuilding.done}></progress> <span class="hint numbers">${whole(rebuilding.done)} of ${whole(rebuilding.total)}</span></span>`;
}
