// What a person sees before a conversation is open: the agents to talk to.
import { html } from "../html.js";
import { agents, enabledBackends, sidebarOpen, user } from "../store.js";
import { menu, plus } from "./icons.js";
import { RunnerControl } from "./runner.js";
import { openNew } from "./sidebar.js";

export function Home() {
  return html`
    <main class="home">
      <header class="bar">
        <button type="button" class="icon-button menu" aria-label="Conversations" onClick=${() => (sidebarOpen.value = true)}>${menu}</button>
        <h1>Hello, ${user.value?.name}</h1>
      </header>
      <div class="cards">
        ${enabledBackends.value.map((backend) => {
          const agent = agents.value.find((a) => a.backend === backend.name);
          return html`
            <article class="card" key=${backend.name}>
              <h2>${backend.display_name}</h2>
              <p>${backend.description}</p>
              <div class="row">
                <button type="button" class="primary" onClick=${() => openNew({ backend: backend.name })}>${plus} New chat</button>
                ${agent && html`<${RunnerControl} agent=${agent} />`}
              </div>
            </article>
          `;
        })}
        ${!enabledBackends.value.length && html`<p class="hint">No agent is enabled. The admin declares them in backends.json.</p>`}
      </div>
    </main>
  `;
}
