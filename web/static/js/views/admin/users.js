// Everybody who has an account here.
import { useState } from "preact/hooks";
import { count, day, whole } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { Loaded } from "../loaded.js";
import { Opener } from "../opener.js";
import { isFull, shares, taken } from "../room.js";
import { Table } from "../table.js";
import { MemberDialog } from "./member.js";
import { NewUser } from "./new_user.js";

/** @import { Member, Members } from "../../types.js" */

const MOST = 200;

export function Users() {
  const users = /** @type {import("../../load.js").Resource<Members>} */ (useLoad("/api/admin/users"));
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState("");
  const [managed, setManaged] = useState("");
  const [sought, seek] = useState("");

  /** @param {string} email */
  function onMade(email) {
    setMaking(false);
    setMade(email);
    users.reload();
  }

  /** @param {Member} member */
  function manage(member) {
    setManaged(member.id);
    users.reload(); // The numbers may be old by now.
  }

  /** @param {number} index @param {string} label @returns {import("../table.js").Column<Member>} */
  const share = (index, label) => ({
    label,
    kind: "number",
    cell: (u) => {
      if (!users.data) return "–";
      const one = shares(users.data.takes[u.id], users.data.most)[index];
      return html`<span class=${isFull(one) ? "error" : ""}>${taken(one)}</span>`;
    },
  });

  /** @type {import("../table.js").Column<Member>[]} */
  const columns = [
    { label: "User", kind: "main", cell: (u) => html`${u.name} ${u.role === "admin" && html`<span class="badge own">Admin</span>`} <span class="sub">${u.email}</span>` },
    { label: "Since", kind: "short", cell: (u) => day(u.created_at) },
    { label: "Tokens this month", kind: "number", cell: tokens },
    share(0, "Kept today"),
    share(1, "Conversations"),
    share(2, "Files"),
    { label: "Actions", kind: "actions", cell: (u) => html`<button type="button" class="small" aria-label="Manage ${u.email}" onClick=${() => manage(u)}>Manage</button>` },
  ];

  return html`
    <${Opener} label="New user" open=${making} setOpen=${setMaking} beside=${html`
      <input class="search" type="search" aria-label="Search users" placeholder="Search by name or address" value=${sought} onInput=${(/** @type {any} */ e) => seek(e.target.value)} />
    `}>
      <${NewUser} onMade=${onMade} onCancel=${() => setMaking(false)} />
    <//>
    ${made && html`<p class="done" role="status">${made} can sign in now.</p>`}
    <${Loaded} of=${users}>
      ${(/** @type {Members} */ found) => {
        const wanted = sought.trim().toLowerCase();
        const fitting = found.users.filter((u) => `${u.name}\n${u.email}`.toLowerCase().includes(wanted));
        const member = found.users.find((u) => u.id === managed);
        return html`
          <${Table} caption="Users" columns=${columns} rows=${fitting.slice(0, MOST)} keyOf=${(/** @type {Member} */ u) => u.id} empty="Nobody fits." />
          <p class="hint" role="status">${fitting.length > MOST ? `The first ${MOST} of ${count(fitting.length, "user")}: search for the others.` : count(fitting.length, "user")}</p>
          ${member && html`<${MemberDialog} key=${member.id} member=${member} takes=${found.takes[member.id]} most=${found.most} reload=${users.reload} onClose=${() => setManaged("")} />`}
        `;
      }}
    <//>
  `;
}

/** @param {Member} member */
function tokens({ monthly_tokens, used_tokens }) {
  if (monthly_tokens === null) return whole(used_tokens);
  const over = used_tokens >= monthly_tokens;
  return html`<span class=${over ? "error" : ""}>${whole(used_tokens)}</span> of ${whole(monthly_tokens)}`;
}
