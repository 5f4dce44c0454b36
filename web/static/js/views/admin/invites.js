// Invites: codes with which people may make an account.
import { useState } from "preact/hooks";
import { call } from "../../api.js";
import { useFocus } from "../../focus.js";
import { ago, day } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { tell } from "../../store.js";
import { Form } from "../form.js";
import { Loaded } from "../loaded.js";
import { Opener } from "../opener.js";
import { Secret } from "../secret.js";
import { Table } from "../table.js";

/** @import { Invite } from "../../types.js" */
/** @typedef {{invite: Invite, code: string, path: string}} Made */

const DAY_SECONDS = 86_400;

export function Invites() {
  const invites = /** @type {import("../../load.js").Resource<{invites: Invite[]}>} */ (useLoad("/api/admin/invites"));
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState(/** @type {Made | null} */ (null));

  /** @param {Made} answer */
  function onMade(answer) {
    setMaking(false);
    setMade(answer);
    invites.reload();
  }

  /** @param {Invite} invite */
  async function revoke(invite) {
    if (!confirm(`Revoke the invite ${invite.note ? `“${invite.note}”` : `${invite.prefix}…`}? Nobody can sign up with it any more.`)) return;
    if (made?.invite.id === invite.id) setMade(null);
    await call("DELETE", `/api/admin/invites/${invite.id}`).then(invites.reload).catch(tell);
  }

  /** @type {import("../table.js").Column<Invite>[]} */
  const columns = [
    { label: "Invite", kind: "main", cell: (i) => html`${i.note || "No note"} <code class="sub">${i.prefix}…</code>` },
    { label: "Used", kind: "short", cell: (i) => `${i.used} of ${i.uses}` },
    { label: "Made", kind: "short", cell: (i) => ago(i.created_at) },
    { label: "Ends", kind: "short", cell: (i) => html`<span title=${day(i.expires_at)}>${ago(i.expires_at)}</span>` },
    { label: "Actions", kind: "actions", cell: (i) => html`<button type="button" class="small danger" aria-label="Revoke ${i.note || i.prefix}" onClick=${() => revoke(i)}>Revoke</button>` },
  ];

  return html`
    <${Opener} label="New invite" open=${making} setOpen=${setMaking} beside=${html`<p class="hint">Whoever has an invite can make an account, also while signing up is switched off for others.</p>`}>
      <${NewInvite} onMade=${onMade} onCancel=${() => setMaking(false)} />
    <//>
    ${made && html`
      <${Secret}
        key=${made.invite.id}
        title="The invite is ready"
        fields=${[{ label: "Link", value: location.origin + made.path }, { label: "Code", value: made.code }]}
        onDone=${() => setMade(null)}
      />
    `}
    <${Loaded} of=${invites}>
      ${(/** @type {{invites: Invite[]}} */ found) => html`
        <${Table} caption="Invites" columns=${columns} rows=${found.invites} keyOf=${(/** @type {Invite} */ i) => i.id} empty="There are no open invites." />
      `}
    <//>
  `;
}

/** @param {{onMade: (made: Made) => void, onCancel: () => void}} props */
function NewInvite({ onMade, onCancel }) {
  const first = useFocus();

  /** @param {Record<string, string>} fields */
  const make = async (fields) =>
    onMade(await call("POST", "/api/admin/invites", { uses: Number(fields.uses), expires_in_seconds: Number(fields.days) * DAY_SECONDS, note: fields.note.trim() }));

  return html`
    <section class="card" aria-labelledby="new-invite">
      <h2 id="new-invite">New invite</h2>
      <${Form} action="Create invite" act=${make} onCancel=${onCancel}>
        <label>Note, only for you<input ref=${first} name="note" maxlength="200" autocomplete="off" placeholder="Who it is for" /></label>
        <div class="pair">
          <label>How many people may use it<input name="uses" type="number" required min="1" max="1000" step="1" defaultValue="1" /></label>
          <label>Valid for how many days<input name="days" type="number" required min="1" max="365" step="1" defaultValue="7" /></label>
        </div>
      <//>
    </section>
  `;
}
