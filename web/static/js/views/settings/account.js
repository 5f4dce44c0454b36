// A person's account: the name, the password, what is theirs.
import { useState } from "preact/hooks";
import { call } from "../../api.js";
import { html } from "../../html.js";
import { user } from "../../store.js";
import { Form } from "../form.js";
import { Sessions } from "./sessions.js";

export function Account() {
  const me = user.value;
  const [changes, setChanges] = useState(0);

  /** @param {Record<string, string>} fields */
  const rename = async (fields) => {
    user.value = (await call("PATCH", "/api/me", { name: fields.name.trim() })).user;
  };

  return html`
    <section class="card" aria-labelledby="account-name">
      <h2 id="account-name">You</h2>
      <p class="hint">You sign in as ${me?.email}.</p>
      <${Form} action="Save name" act=${rename} done="Saved.">
        <label>Name<input name="name" autocomplete="name" required maxlength="80" defaultValue=${me?.name} /></label>
      <//>
    </section>
    <${Password} email=${me?.email ?? ""} onChanged=${() => setChanges(changes + 1)} />
    <${Sessions} key=${changes} />
    <section class="card" aria-labelledby="account-export">
      <h2 id="account-export">Your data</h2>
      <p class="hint">Your account, agents and conversations in one JSON file.</p>
      <div class="buttons"><a class="button" href="/api/me/export" download>Download my data</a></div>
    </section>
  `;
}

/** @param {{email: string, onChanged: () => void}} props */
function Password({ email, onChanged }) {
  /** @param {Record<string, string>} fields @param {HTMLFormElement} form */
  async function change(fields, form) {
    if (fields.new_password !== fields.again) throw new Error("The new password and its repetition differ. Type both again.");
    await call("POST", "/api/me/password", { current_password: fields.current_password, new_password: fields.new_password });
    form.reset();
    onChanged();
  }

  return html`
    <section class="card" aria-labelledby="account-password">
      <h2 id="account-password">Password</h2>
      <${Form} action="Change password" act=${change} done="Changed. You were signed out everywhere else.">
        <input class="unseen" type="text" autocomplete="username" value=${email} readonly tabindex="-1" aria-hidden="true" />
        <label>Current password<input name="current_password" type="password" required autocomplete="current-password" /></label>
        <div class="pair">
          <label>New password<input name="new_password" type="password" required minlength="10" autocomplete="new-password" aria-describedby="password-rule" /></label>
          <label>New password again<input name="again" type="password" required autocomplete="new-password" /></label>
        </div>
        <p class="hint" id="password-rule">At least 10 characters. You stay signed in here and are signed out everywhere else.</p>
      <//>
    </section>
  `;
}
