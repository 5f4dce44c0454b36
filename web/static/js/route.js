// Where the page is: in the part of the address after #, which never reaches the server.
import { signal } from "@preact/signals";

/**
 * @typedef {{name: "home"} | {name: "setup", token: string} | {name: "signup", invite: string} | {name: "chat", id: string, message: string}
 *   | {name: "settings" | "admin", tab: string, sub: string, query: URLSearchParams}} Route
 */

/** @returns {Route} */
function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const asked = new URLSearchParams(query);
  if (path === "setup") return { name: "setup", token: asked.get("token") ?? "" };
  if (path === "signup") return { name: "signup", invite: asked.get("invite") ?? "" };
  const section = /^(settings|admin)(?:\/([a-z]+))?(?:\/([a-z]+))?$/.exec(path);
  if (section) return { name: /** @type {"settings" | "admin"} */ (section[1]), tab: section[2] ?? "", sub: section[3] ?? "", query: asked };
  const chat = /^c\/([a-z0-9]+)$/.exec(path);
  return chat ? { name: "chat", id: chat[1], message: asked.get("m") ?? "" } : { name: "home" };
}

/** @type {import("@preact/signals").Signal<Route>} */
export const route = signal(read());

addEventListener("hashchange", () => {
  route.value = read();
});

/** @param {string} hash for example "#/c/…" */
export function go(hash) {
  location.hash = hash;
}

/** Go there, also when that is where the page already is. @param {string} hash */
export function revisit(hash) {
  if (location.hash === hash) route.value = read();
  else go(hash);
}

/** Go where the address so far is not kept in the history: it had a one-time code in it, or was a small step. @param {string} hash */
export function leaveFor(hash) {
  history.replaceState(null, "", hash);
  route.value = read();
}
