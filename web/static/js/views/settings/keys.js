// Keys: the values that agents need, such as the address of a language model and the key for it.
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { backends } from "../../store.js";
import { Loaded } from "../loaded.js";
import { KeyRow } from "./key_row.js";
import { TestConnection } from "./key_test.js";

/** @import { Keys as AllKeys } from "../../types.js" */

const SOURCES = {
  backend: "Own, for this agent",
  global: "Own, for all agents",
  shared: "Shared by the admin",
  default: "Default",
  unset: "Not set",
};

export function Keys() {
  const keys = /** @type {import("../../load.js").Resource<AllKeys>} */ (useLoad("/api/me/env-overrides"));
  return html`
    <p class="hint">
      The addresses, keys and models with which your agents work. When you change one, running agents that use it finish their answers, then stop; the next message starts them with the new value.
    </p>
    <${Loaded} of=${keys}>${(/** @type {AllKeys} */ found) => html`<${Cards} keys=${found} reload=${keys.reload} />`}<//>
  `;
}

/** @param {{keys: AllKeys, reload: () => Promise<void>}} props */
function Cards({ keys, reload }) {
  const shown = backends.value.filter((b) => !b.disabled && Object.keys(keys.effective[b.name] ?? {}).length);
  if (!shown.length) return html`<p class="hint none">None of the agents here needs keys.</p>`;
  const missing = shown.filter((b) => missingOf(keys, b.name).length);
  return html`
    ${missing.length > 0 && html`
      <div class="callout" role="status">
        <strong>Some agents cannot start yet.</strong>
        <ul>${missing.map((b) => html`<li key=${b.name}>${b.display_name} needs a value for ${missingOf(keys, b.name).join(", ")}.</li>`)}</ul>
      </div>
    `}
    <section class="card" aria-labelledby="keys-all">
      <h2 id="keys-all">All my agents</h2>
      <p class="hint">These count wherever an agent has no value of its own below.</p>
      <div class="keys">
        ${keys.vars.map((name) => {
          const own = keys.overrides[""]?.[name];
          const shared = keys.admin_shared[name] && keys.admin_shared_present[name];
          const users = shown.filter((b) => keys.backends[name]?.includes(b.name));
          const usedBy = users.length === shown.length ? "every agent below" : users.map((b) => b.display_name).join(", ");
          const otherwise = shared ? "The admin shares a value" : "No value for all agents";
          return html`<${KeyRow} key=${name} name=${name} scope="" place="all agents" value=${own ?? ""} own=${own !== undefined} note=${own === undefined ? otherwise : ""} hint="Used by ${usedBy}" reload=${reload} />`;
        })}
      </div>
    </section>
    ${shown.map((b) => html`
      <section class="card" key=${b.name} aria-labelledby="keys-${b.name}">
        <h2 id="keys-${b.name}">${b.display_name}</h2>
        <div class="keys">
          ${Object.entries(keys.effective[b.name]).map(([name, { source, masked }]) => html`
            <${KeyRow} key=${name} name=${name} scope=${b.name} place=${b.display_name} value=${masked} own=${source === "backend"} note=${SOURCES[source] ?? source} missing=${source === "unset"} reload=${reload} />
          `)}
        </div>
        ${Object.keys(keys.effective[b.name]).some((name) => name.startsWith("LLM_")) && html`
          <${TestConnection} key=${JSON.stringify(keys.effective[b.name])} backend=${b.name} place=${b.display_name} />
        `}
      </section>
    `)}
  `;
}

/** @param {AllKeys} keys @param {string} backend @returns {string[]} the variables of a backend that have no value */
function missingOf(keys, backend) {
  return Object.entries(keys.effective[backend] ?? {}).filter(([, e]) => e.source === "unset").map(([name]) => name);
}
