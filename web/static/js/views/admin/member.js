// What the admin may do with somebody's account.
import { useState } from "preact/hooks";
import { call } from "../../api.js";
import { count, whole } from "../../format.js";
import { html } from "../../html.js";
import { Dialog } from "../dialog.js";
import { Form } from "../form.js";
import { RoomTaken } from "../room.js";
import { PasswordForSomebody } from "./password.js";

/** @import { Member, Most, Room } from "../../types.js" */
/** @typedef {{member: Member, reload: () => Promise<void>}} Props */

/** @param {Props & {takes: Room & {api_tokens: number}, most: Most, onClose: () => void}} props */
export function MemberDialog({ member, takes, most, reload, onClose }) {
  return html`
    <${Dialog} title=${member.email} onClose=${onClose}>
      <${Name} member=${member} reload=${reload} />
      <${Budget} member=${member} reload=${reload} />
      <section><h3>Room on this server</h3><${RoomTaken} room=${takes} most=${most} /></section>
      ${member.role !== "admin" && html`<${Password} member=${member} tokens=${takes.api_tokens} reload=${reload} /><${Delete} member=${member} reload=${reload} />`}
    <//>
  `;
}

/** @param {Props} props */
function Name({ member, reload }) {
  /** @param {Record<string, string>} fields */
  const save = (fields) => call("PATCH", `/api/admin/users/${member.id}`, { name: fields.name.trim() }).then(reload);
  return html`
    <section>
      <h3>Name</h3>
      <${Form} action="Save name" kind="" act=${save} done="Saved.">
        <input name="name" aria-label="Name" required maxlength="80" autocomplete="off" defaultValue=${member.name} />
      <//>
    </section>
  `;
}

/** @param {Props} props */
function Budget({ member, reload }) {
  /** @param {Record<string, string>} fields */
  const save = (fields) => call("PUT", `/api/admin/users/${member.id}/budget`, { monthly_tokens: fields.tokens ? Number(fields.tokens) : null }).then(reload);
  return html`
    <section>
      <h3>Budget</h3>
      <${Form} action="Save budget" kind="" act=${save} done="Saved.">
        <label>Tokens a month; empty for no limit<input name="tokens" type="number" min="0" step="1" inputmode="numeric" autocomplete="off" defaultValue=${member.monthly_tokens ?? ""} /></label>
        <p class="hint">Used this month: ${whole(member.used_tokens)}. For each answer that is being written, 20,000 tokens or more are held back: with fewer left, answers are written one after the other.</p>
      <//>
    </section>
  `;
}

/** @param {Props & {tokens: number}} props */
function Password({ member, tokens, reload }) {
  /** @param {Record<string, string>} fields @param {HTMLFormElement} form */
  async function save(fields, form) {
    await call("PATCH", `/api/admin/users/${member.id}`, { password: fields.password, revoke_tokens: fields.revoke_tokens === "on" });
    form.reset();
    await reload();
  }

  return html`
    <section>
      <h3>New password</h3>
      <${Form} action="Set password" kind="" act=${save} done="Set. The person was signed out everywhere.">
        <${PasswordForSomebody} />
        ${tokens > 0 && html`<label class="check"><input type="checkbox" name="revoke_tokens" /> Revoke ${count(tokens, "API token")}, too</label>`}
      <//>
    </section>
  `;
}

/** @param {Props} props */
function Delete({ member, reload }) {
  const [typed, type] = useState("");
  const remove = () => call("DELETE", `/api/admin/users/${member.id}`).then(reload);
  return html`
    <section class="danger-zone">
      <h3>Delete</h3>
      <${Form} action="Delete this user for good" kind="danger" disabled=${typed.trim().toLowerCase() !== member.email.toLowerCase()} act=${remove}>
        <p class="hint">The account, its agents with their files, its conversations and its keys are deleted. Nobody can bring them back.</p>
        <label>Type ${member.email} to confirm<input value=${typed} autocomplete="off" autocapitalize="off" spellcheck=${false} onInput=${(/** @type {any} */ e) => type(e.target.value)} /></label>
      <//>
    </section>
  `;
}
