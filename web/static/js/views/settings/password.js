// Changing one's password, and what becomes of the API tokens that are older.
import { useState } from "preact/hooks";
import { call } from "../../api.js";
import { count } from "../../format.js";
import { html } from "../../html.js";
import { Form } from "../form.js";

/** @import { Token } from "../../types.js" */

/** @param {{email: string, onChanged: () => void}} props */
export function Password({ email, onChanged }) {
  const [older, setOlder] = useState(/** @type {Token[]} */ ([]));
  const [told, tell] = useState("");

  /** @param {Record<string, string>} fields @param {HTMLFormElement} form */
  async function change(fields, form) {
    if (fields.new_password !== fields.again) throw new Error("The new password and its repetition differ. Type both again.");
    const { tokens } = await call("POST", "/api/me/password", { current_password: fields.current_password, new_password: fields.new_password });
    form.reset();
    setOlder(tokens);
    tell("");
    onChanged();
  }

  /** @param {string} words */
  function done(words) {
    setOlder([]);
    tell(words);
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
      ${older.length > 0 && html`<${OlderTokens} tokens=${older} onDone=${done} />`}
      ${told && html`<p class="done" role="status">${told}</p>`}
    </section>
  `;
}

/** @param {{tokens: Token[], onDone: (words: string) => void}} props */
function OlderTokens({ tokens, onDone }) {
  const revoke = async () => {
    for (const token of tokens) await call("DELETE", `/api/me/tokens/${token.id}`).catch((error) => ignoreGone(error));
    onDone(`Revoked ${count(tokens.length, "API token")}.`);
  };
  return html`
    <div class="card" role="group" aria-labelledby="older-tokens">
      <h3 id="older-tokens">${count(tokens.length, "API token")} made with the old password</h3>
      <p class="hint">Programs that use ${tokens.length === 1 ? "it" : "them"} go on working: ${tokens.map((t) => t.name).join(", ")}. If somebody else may have known the password, revoke ${tokens.length === 1 ? "it" : "them"} now.</p>
      <${Form} action=${tokens.length === 1 ? "Revoke it" : "Revoke all"} kind="danger" act=${revoke} onCancel=${() => onDone("")} cancel="Keep" />
    </div>
  `;
}

/** @param {any} error one that is gone already is no failure */
function ignoreGone(error) {
  if (error?.status !== 404) throw error;
}
