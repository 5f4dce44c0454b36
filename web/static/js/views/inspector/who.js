// Whom an event comes from and whom it is about, by their address where they still have one.
import { createContext } from "preact";
import { useContext, useMemo } from "preact/hooks";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";

/** @import { Member } from "../../types.js" */

const Known = createContext(/** @type {Map<string, Member>} */ (new Map()));

const ACTORS = /** @type {Record<string, string>} */ ({ system: "The server", anonymous: "Nobody signed in", operator: "Command line" });

/** @param {{children: unknown}} props */
export function UsersKnown({ children }) {
  const users = /** @type {import("../../load.js").Resource<{users: Member[]}>} */ (useLoad("/api/admin/users", 60_000));
  const known = useMemo(() => new Map((users.data?.users ?? []).map((u) => [u.id, u])), [users.data]);
  return html`<${Known.Provider} value=${known}>${children}<//>`;
}

/** @returns {Map<string, Member>} by id */
export const useUsers = () => useContext(Known);

/** @param {string} id @returns {string} its end, by which ids differ */
export const shortId = (id) => (id.length > 12 ? `…${id.slice(-6)}` : id);

/** @param {Map<string, Member>} users @param {string} id @returns {string} somebody whom the list does not have is new or deleted */
export const nameOf = (users, id) => users.get(id)?.email ?? `user ${shortId(id)}`;

/** @param {{owner: string, owner_email: string}} of an event or a stream @returns {string} "" for nobody */
export const ownerOf = ({ owner, owner_email }) => owner_email || (owner && `deleted user ${shortId(owner)}`);

/** @param {Map<string, Member>} users @param {import("../../inspector/types.js").LoggedEvent} event @returns {{label: string, user: string}} `user` is "" for whoever is none */
export function actorOf(users, event) {
  const [kind, id = ""] = event.actor.split(":");
  if (kind === "user") return { label: id === event.owner ? ownerOf(event) : nameOf(users, id), user: id };
  return { label: ACTORS[event.actor] ?? (kind === "runner" ? `Runner ${shortId(id)}` : event.actor), user: "" };
}
