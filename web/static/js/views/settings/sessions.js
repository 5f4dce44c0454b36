// Where a person is signed in, and signing out there.
import { call } from "../../api.js";
import { ago, day, device } from "../../format.js";
import { html } from "../../html.js";
import { useAction, useLoad } from "../../load.js";
import { Failure } from "../failure.js";
import { Loaded } from "../loaded.js";
import { Table } from "../table.js";

/** @import { Session } from "../../types.js" */

export function Sessions() {
  const sessions = /** @type {import("../../load.js").Resource<{sessions: Session[]}>} */ (useLoad("/api/me/sessions"));
  const { run, busy, error } = useAction();

  /** @param {string} path */
  const signOut = (path) => run(() => call("DELETE", path).finally(sessions.reload));

  /** @type {import("../table.js").Column<Session>[]} */
  const columns = [
    { label: "Device", kind: "main", cell: (s) => html`<span title=${s.device}>${device(s.device)}</span> ${s.current && html`<span class="badge own">This one</span>`}` },
    { label: "Signed in", kind: "short", cell: (s) => ago(s.created_at) },
    { label: "Ends", kind: "short", cell: (s) => day(s.expires_at) },
    {
      label: "Actions",
      kind: "actions",
      cell: (s) => !s.current && html`<button type="button" class="small" disabled=${busy} aria-label="Sign out ${device(s.device)}" onClick=${() => signOut(`/api/me/sessions/${s.id}`)}>Sign out</button>`,
    },
  ];

  return html`
    <section class="card" aria-labelledby="account-sessions">
      <h2 id="account-sessions">Where you are signed in</h2>
      <${Failure} error=${error} />
      <${Loaded} of=${sessions}>
        ${(/** @type {{sessions: Session[]}} */ found) => html`
          <${Table} caption="Sessions" columns=${columns} rows=${found.sessions} keyOf=${(/** @type {Session} */ s) => s.id} />
          ${found.sessions.some((s) => !s.current) && html`
            <div class="buttons"><button type="button" disabled=${busy} onClick=${() => signOut("/api/me/sessions")}>Sign out everywhere else</button></div>
          `}
        `}
      <//>
    </section>
  `;
}
