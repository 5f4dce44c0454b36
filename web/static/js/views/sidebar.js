// Conversations by agent, and who is signed in.
import { html } from "../html.js";
import { go } from "../route.js";
import {
  agents,
  conversations,
  deleteConversation,
  enabledBackends,
  newConversation,
  renameConversation,
  sidebarOpen,
  signOut,
  signin,
  tell,
  user,
} from "../store.js";
import { nextTheme, theme } from "../theme.js";
import { gear, half, leave, pencil, plus, shield, trash } from "./icons.js";
import { Dot } from "./runner.js";
import { Search } from "./search.js";

/** @import { Agent, Conversation } from "../types.js" */

/** @param {{backend?: string, agent_id?: string}} with_ */
export async function openNew(with_) {
  try {
    go(`#/c/${(await newConversation(with_)).id}`);
    sidebarOpen.value = false;
  } catch (error) {
    tell(error);
  }
}

/** @param {{here: import("../route.js").Route}} props */
export function Sidebar({ here }) {
  const current = here.name === "chat" ? here.id : "";
  const used = new Set(agents.value.map((a) => a.backend));
  const unused = enabledBackends.value.filter((b) => !used.has(b.name));
  return html`
    <aside class="sidebar" aria-label="Conversations">
      <a class="brand" href="#/" onClick=${() => (sidebarOpen.value = false)}><img src="/static/icon.svg" alt="" width="24" height="24" /> agent-stack ${signin.value?.read_only && html`<span class="badge">As it was, read-only</span>`}</a>
      <${Search}>
        <nav>
          ${agents.value.map((agent) => html`<${AgentGroup} key=${agent.id} agent=${agent} current=${current} />`)}
          ${unused.map(
            (backend) => html`
              <section key=${backend.name}>
                <div class="group">
                  <${Dot} state="absent" /><span class="group-name">${backend.display_name}</span>
                  <button type="button" class="icon-button" aria-label="New chat with ${backend.display_name}" onClick=${() => openNew({ backend: backend.name })}>${plus}</button>
                </div>
              </section>
            `,
          )}
        </nav>
      <//>
      <footer>
        <span class="who" title=${user.value?.email}>${user.value?.name}</span>
        ${user.value?.role === "admin" && html`<${SectionLink} name="admin" label="Administration" icon=${shield} here=${here} />`}
        <${SectionLink} name="settings" label="Settings" icon=${gear} here=${here} />
        <button type="button" class="icon-button" aria-label="Theme: ${theme.value}" title="Theme: ${theme.value}" onClick=${nextTheme}>${half}</button>
        <button type="button" class="icon-button" aria-label="Sign out" title="Sign out" onClick=${() => signOut().catch(tell)}>${leave}</button>
      </footer>
    </aside>
  `;
}

/** @param {{name: string, label: string, icon: unknown, here: import("../route.js").Route}} props */
function SectionLink({ name, label, icon, here }) {
  const current = here.name === name ? "page" : undefined;
  return html`<a class="icon-button" href="#/${name}" aria-label=${label} title=${label} aria-current=${current} onClick=${() => (sidebarOpen.value = false)}>${icon}</a>`;
}

/** @param {{agent: Agent, current: string}} props */
function AgentGroup({ agent, current }) {
  const mine = conversations.value.filter((c) => c.agent_id === agent.id);
  return html`
    <section>
      <div class="group">
        <${Dot} state=${agent.state} /><span class="group-name">${agent.name}</span>
        <button type="button" class="icon-button" aria-label="New chat with ${agent.name}" title="New chat" onClick=${() => openNew({ agent_id: agent.id })}>${plus}</button>
      </div>
      <ul>
        ${mine.map((c) => html`<${Entry} key=${c.id} conversation=${c} current=${c.id === current} />`)}
      </ul>
    </section>
  `;
}

/** @param {{conversation: Conversation, current: boolean}} props */
function Entry({ conversation, current }) {
  const title = conversation.title || "New chat";

  async function remove() {
    if (!confirm(`Delete “${title}”?`)) return;
    try {
      await deleteConversation(conversation.id);
      if (current) go("#/");
    } catch (error) {
      tell(error);
    }
  }

  function rename() {
    const wanted = prompt("Title of this conversation", title);
    if (wanted?.trim()) renameConversation(conversation.id, wanted).catch(tell);
  }

  return html`
    <li class=${current ? "entry current" : "entry"}>
      <a href="#/c/${conversation.id}" aria-current=${current ? "page" : undefined} onClick=${() => (sidebarOpen.value = false)}>
        ${conversation.running_turn && html`<span class="writing" title="An answer is being written"></span>`}${title}
      </a>
      <button type="button" class="icon-button" aria-label="Rename ${title}" title="Rename" onClick=${rename}>${pencil}</button>
      <button type="button" class="icon-button" aria-label="Delete ${title}" title="Delete" onClick=${remove}>${trash}</button>
    </li>
  `;
}
