// The form with which the admin makes an account for somebody.
import { call } from "../../api.js";
import { useFocus } from "../../focus.js";
import { html } from "../../html.js";
import { Form } from "../form.js";
import { PasswordForSomebody } from "./password.js";

/** @param {{onMade: (email: string) => void, onCancel: () => void}} props */
export function NewUser({ onMade, onCancel }) {
  const first = useFocus();

  /** @param {Record<string, string>} fields */
  async function make(fields) {
    const name = fields.name.trim();
    const { user } = await call("POST", "/api/admin/users", { email: fields.email, password: fields.password, ...(name && { name }) });
    onMade(user.email);
  }

  return html`
    <section class="card" aria-labelledby="new-user">
      <h2 id="new-user">New user</h2>
      <${Form} action="Create user" act=${make} onCancel=${onCancel}>
        <div class="pair">
          <label>Email<input ref=${first} name="email" type="email" required autocomplete="off" /></label>
          <label>Name, if you like<input name="name" maxlength="80" autocomplete="off" /></label>
        </div>
        <${PasswordForSomebody} />
      <//>
    </section>
  `;
}
