// A password that the admin gives to somebody: readable, because it has to be told.
import { useRef } from "preact/hooks";
import { html } from "../../html.js";

// Without the letters and digits that look like others.
const LETTERS = "abcdefghjkmnpqrstuvwxyz23456789";
const GROUPS = 4;
const GROUP_LENGTH = 5;

export function PasswordForSomebody() {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));

  function suggest() {
    if (field.current) field.current.value = suggestion();
  }

  return html`
    <div class="copyable">
      <label>Password<input ref=${field} class="mono" name="password" required minlength="10" maxlength="1024" autocomplete="off" autocapitalize="off" spellcheck=${false} /></label>
      <button type="button" onClick=${suggest}>Suggest one</button>
    </div>
    <p class="hint">At least 10 characters. Tell it to the person, who can change it in the settings.</p>
  `;
}

function suggestion() {
  // The remainder favours the first letters by less than a millionth.
  const letters = [...crypto.getRandomValues(new Uint32Array(GROUPS * GROUP_LENGTH))].map((n) => LETTERS[n % LETTERS.length]);
  return Array.from({ length: GROUPS }, (_, n) => letters.slice(n * GROUP_LENGTH, (n + 1) * GROUP_LENGTH).join("")).join("-");
}
