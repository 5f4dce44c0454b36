// Where the page is: in the part of the address after #, which never reaches the server.
import { signal } from "@preact/signals";

/** @typedef {{name: "home"} | {name: "setup", token: string} | {name: "chat", id: string}} Route */

/** @returns {Route} */
function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  if (path === "setup") return { name: "setup", token: new URLSearchParams(query).get("token") ?? "" };
  const chat = /^c\/([a-z0-9]+)$/.exec(path);
  return chat ? { name: "chat", id: chat[1] } : { name: "home" };
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
