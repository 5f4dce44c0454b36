// Choosing some of the types of events.
import { useId, useRef, useState } from "preact/hooks";
import { useDismissal } from "../../dismissal.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { Failure } from "../failure.js";

/** @param {{chosen: string[], choose: (types: string[]) => void}} props none for all */
export function TypeChoice({ chosen, choose }) {
  const types = /** @type {import("../../load.js").Resource<{types: string[]}>} */ (useLoad("/api/admin/events/types"));
  const [open, setOpen] = useState(false);
  const [sought, seek] = useState("");
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const { whole, onKeyDown } = useDismissal(open, () => setOpen(false), button);
  const label = useId();
  const all = [...new Set([...(types.data?.types ?? []), ...chosen])].sort();
  const fitting = all.filter((t) => t.includes(sought.trim().toLowerCase()));

  /** @param {string} type */
  const toggle = (type) => choose(chosen.includes(type) ? chosen.filter((t) => t !== type) : [...chosen, type]);

  function onOpen() {
    if (!open) types.reload();
    setOpen(!open);
  }

  return html`
    <div class="choice" ref=${whole} onKeyDown=${onKeyDown}>
      <span id=${label}>Types</span>
      <button type="button" class="select" ref=${button} aria-labelledby="${label} ${label}-value" aria-expanded=${open} onClick=${onOpen}>
        <span id="${label}-value">${chosen.length > 1 ? `${chosen.length} types` : (chosen[0] ?? "All")}</span>
      </button>
      ${open && html`
        <fieldset class="choice-list">
          <legend class="unseen">Types</legend>
          <input type="search" aria-label="Search types" placeholder="Search types" autocomplete="off" value=${sought} onInput=${(/** @type {any} */ e) => seek(e.target.value)} />
          <${Failure} error=${types.error} />
          ${fitting.map((t) => html`<label class="check" key=${t}><input type="checkbox" checked=${chosen.includes(t)} onChange=${() => toggle(t)} /> ${t}</label>`)}
          ${!fitting.length && html`<p class="hint">No type fits.</p>`}
          ${chosen.length > 0 && html`<button type="button" class="small" onClick=${() => choose([])}>All types</button>`}
        </fieldset>
      `}
    </div>
  `;
}
