// A person's account: the name, the password, what is theirs.
import { useState } from "preact/hooks";
import { call } from "../../api.js";
import { html } from "../../html.js";
import { user } from "../../store.js";
import { Form } from "../form.js";
import { Password } from "./password.js";
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
