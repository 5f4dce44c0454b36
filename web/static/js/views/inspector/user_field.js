// Choosing one of the users by a name or an address.
import { useLayoutEffect, useState } from "preact/hooks";
import { html } from "../../html.js";
import { nameOf, useUsers } from "./who.js";

const MOST = 50;
const ID = /^[0-9a-z]{26}$/;

/** @param {{chosen: string, choose: (id: string) => void}} props the id of a user, "" for all */
export function UserField({ chosen, choose }) {
  const users = useUsers();
  const shown = chosen && nameOf(users, chosen);
  const [text, type] = useState(shown);
  const [wrong, setWrong] = useState("");
  useLayoutEffect(() => type(shown), [shown]); // Before anybody can type into it.
  const sought = text.trim().toLowerCase();
  const fitting = [...users.values()].filter((u) => `${u.name}\n${u.email}`.toLowerCase().includes(sought));

  function commit() {
    const known = fitting.find((u) => u.email.toLowerCase() === sought) ?? (fitting.length === 1 ? fitting[0] : undefined);
    const id = !sought || text === shown ? (sought && chosen) : (known?.id ?? (ID.test(sought) ? sought : null));
    setWrong(id === null ? (fitting.length ? "More than one user fits." : "Nobody fits.") : "");
    if (id !== null && id !== chosen) choose(id);
  }

  return html`
    <label>
      By or about
      <input
        type="search"
        list="users-known"
        placeholder="Name or address"
        autocomplete="off"
        autocapitalize="off"
        spellcheck=${false}
        aria-invalid=${wrong ? "true" : undefined}
        value=${text}
        onInput=${(/** @type {any} */ e) => type(e.target.value)}
        onChange=${commit}
      />
      ${wrong && html`<span class="error" role="alert">${wrong}</span>`}
      <datalist id="users-known">${fitting.slice(0, MOST).map((u) => html`<option key=${u.id} value=${u.email}>${u.name}</option>`)}</datalist>
    </label>
  `;
}
