// Going through the versions of a stream: by buttons, by a slider and by the arrow keys.
import { useLayoutEffect } from "preact/hooks";
import { html } from "../../html.js";

/** @param {{version: number, newest: number, step: (version: number) => void}} props */
export function Stepper({ version, newest, step }) {
  // Before the version is seen, not after: a key pressed at once must go on from it, not from the one before.
  useLayoutEffect(() => {
    /** @param {KeyboardEvent} event */
    function onKeyDown(event) {
      const target = /** @type {HTMLElement} */ (event.target);
      if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      if (["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName) || document.querySelector("dialog[open]")) return;
      const next = version + ({ ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0);
      if (next === version || next < 1 || next > newest) return;
      event.preventDefault();
      step(next);
    }

    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, [version, newest]);

  return html`
    <div class="row stepper">
      <h2 id="state" aria-live="polite">Version ${version} of ${newest}</h2>
      <div class="buttons">
        <button type="button" class="small" disabled=${version <= 1} onClick=${() => step(1)}>First</button>
        <button type="button" class="small" disabled=${version <= 1} title="Left arrow" onClick=${() => step(version - 1)}>Previous</button>
        <button type="button" class="small" disabled=${version >= newest} title="Right arrow" onClick=${() => step(version + 1)}>Next</button>
        <button type="button" class="small" disabled=${version >= newest} onClick=${() => step(newest)}>Newest</button>
      </div>
      ${newest > 1 && html`<input type="range" aria-label="Version" min="1" max=${newest} value=${version} onChange=${(/** @type {any} */ e) => step(Number(e.target.value))} />`}
    </div>
  `;
}
