// The state of an agent's runner, and the button that changes it.
import { useState } from "preact/hooks";
import { call } from "../api.js";
import { html } from "../html.js";
import { refreshQuietly, tell } from "../store.js";
import { play, stop } from "./icons.js";

/** @import { Agent } from "../types.js" */

export const WORDS = /** @type {Record<string, string>} */ ({
  absent: "Stopped",
  preparing: "Starting",
  pulling: "Starting",
  creating: "Starting",
  starting: "Starting",
  probing: "Starting",
  ready: "Running",
  stopping: "Stopping",
  failed: "Failed",
});

/** @param {{state: string}} props */
export function Dot({ state }) {
  return html`<span class="dot ${state}" title=${WORDS[state] ?? state}></span>`;
}

/** @param {{agent: Agent}} props */
export function RunnerControl({ agent }) {
  const [busy, setBusy] = useState(false);
  const isUp = !["absent", "failed", "stopping"].includes(agent.state);

  async function toggle() {
    setBusy(true);
    const act = isUp ? call("DELETE", `/api/agents/${agent.id}/runner`) : call("POST", `/api/agents/${agent.id}/start`);
    setTimeout(refreshQuietly, 150);
    // A start takes long, and may be stopped meanwhile: the button is free again at once.
    if (!isUp) setBusy(false);
    try {
      await act;
    } catch (error) {
      tell(error);
    }
    setBusy(false);
    await refreshQuietly();
  }

  return html`
    <span class="runner" data-state=${agent.state}>
      <${Dot} state=${agent.state} />
      <span class="runner-word">${WORDS[agent.state] ?? agent.state}</span>
      <button type="button" class="small" disabled=${busy || agent.state === "stopping"} onClick=${toggle}>
        ${isUp ? stop : play} ${isUp ? "Stop" : "Start"}
      </button>
    </span>
  `;
}
