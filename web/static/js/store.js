// What the page knows, as signals, and the actions that change it.
import { batch, computed, signal } from "@preact/signals";
import { call, whenSignedOut } from "./api.js";
import { go, leaveFor, route } from "./route.js";

/** @import { Agent, Backend, Conversation, SigninState, User } from "./types.js" */

/** @type {import("@preact/signals").Signal<User | null | undefined>} undefined until it is known */
export const user = signal(undefined);
/** @type {import("@preact/signals").Signal<SigninState | null>} */
export const signin = signal(null);
/** @type {import("@preact/signals").Signal<Backend[]>} */
export const backends = signal([]);
/** @type {import("@preact/signals").Signal<Agent[]>} */
export const agents = signal([]);
/** @type {import("@preact/signals").Signal<Conversation[]>} */
export const conversations = signal([]);
/** @type {import("@preact/signals").Signal<unknown>} what went wrong, shown to the person until they dismiss it; null for nothing */
export const notice = signal(null);
export const sidebarOpen = signal(false);

export const enabledBackends = computed(() => backends.value.filter((b) => !b.disabled));

whenSignedOut(() => {
  user.value = null;
});

// What went wrong elsewhere is of no interest here.
addEventListener("hashchange", () => {
  notice.value = null;
});

/** Find out who is signed in; called once, and after every sign-in. */
export async function begin() {
  try {
    signin.value = await call("GET", "/auth/state");
    user.value = signin.value?.user ?? null;
    if (!user.value) return;
    if (route.value.name === "signup") {
      leaveFor("#/");
      tell(`You are signed in as ${user.value.email}. Sign out first to use an invite.`);
    }
    await refresh();
  } catch (error) {
    tell(error);
  }
}

/** Load what the sidebar shows. */
export async function refresh() {
  const [b, a, c] = await Promise.all([
    call("GET", "/api/backends"),
    call("GET", "/api/agents"),
    call("GET", "/api/conversations"),
  ]);
  batch(() => {
    backends.value = b.backends;
    agents.value = a.agents;
    conversations.value = c.conversations;
  });
}

/** Load only what changes by itself. Failures are left to the next time. */
export async function refreshQuietly() {
  if (!user.value || document.hidden) return;
  try {
    const [a, c] = await Promise.all([call("GET", "/api/agents"), call("GET", "/api/conversations")]);
    batch(() => {
      agents.value = a.agents;
      conversations.value = c.conversations;
    });
  } catch {
    // The server restarts, or the network is away: the page stays as it is.
  }
}

/** @param {string} path @param {object} body @param {boolean} home whether to go to the start, and forget the code in the address */
export async function signIn(path, body, home) {
  const answer = await call("POST", path, body);
  batch(() => {
    if (home) leaveFor("#/");
    user.value = answer.user;
  });
  signin.value = await call("GET", "/auth/state");
  await refresh();
}

export async function signOut() {
  await call("POST", "/auth/logout");
  batch(() => {
    user.value = null;
    agents.value = [];
    conversations.value = [];
  });
  go("#/");
}

/** @param {{backend?: string, agent_id?: string}} with_ @returns {Promise<Conversation>} */
export async function newConversation(with_) {
  const { conversation } = await call("POST", "/api/conversations", with_);
  conversations.value = [conversation, ...conversations.value];
  refreshQuietly();
  return conversation;
}

/** @param {string} id */
export async function deleteConversation(id) {
  await call("DELETE", `/api/conversations/${id}`);
  conversations.value = conversations.value.filter((c) => c.id !== id);
}

/** @param {string} id @param {string} title */
export async function renameConversation(id, title) {
  const { conversation } = await call("PATCH", `/api/conversations/${id}`, { title });
  conversations.value = conversations.value.map((c) => (c.id === id ? conversation : c));
}

/** @param {string} agentId @param {string} state @param {string} failure why it failed, "" when it did not */
export function setAgentState(agentId, state, failure) {
  agents.value = agents.value.map((a) => (a.id === agentId ? { ...a, state, failure, running: state === "ready" } : a));
}

/** @param {unknown} error show it to the person */
export function tell(error) {
  notice.value = error;
}
