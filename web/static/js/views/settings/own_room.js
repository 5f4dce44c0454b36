// What a person takes of the server, and how to take less.
import { call } from "../../api.js";
import { html } from "../../html.js";
import { agents, refresh, tell } from "../../store.js";
import { RoomTaken } from "../room.js";

/** @import { Agent, Room, Most } from "../../types.js" */

/** @param {{room: Room, most: Most, reload: () => Promise<void>}} props */
export function OwnRoom({ room, most, reload }) {
  /** @param {Agent} agent */
  async function remove(agent) {
    if (!confirm(`Delete ${agent.name}, its files and its conversations? Nobody can bring them back.`)) return;
    await call("DELETE", `/api/agents/${agent.id}?files=true`).catch(tell);
    await Promise.all([refresh(), reload()]);
  }

  return html`
    <section class="card" aria-labelledby="room">
      <h2 id="room">Room on this server</h2>
      <${RoomTaken} room=${room} most=${most} />
      ${agents.value.length > 0 && html`
        <details>
          <summary>Delete an agent with its files</summary>
          <ul class="rows">
            ${agents.value.map((agent) => html`
              <li key=${agent.id} class="row">
                <span>${agent.name}</span>
                <button type="button" class="small danger" aria-label="Delete ${agent.name} with its files" onClick=${() => remove(agent)}>Delete</button>
              </li>
            `)}
          </ul>
        </details>
      `}
    </section>
  `;
}
