// The hash chain: its end, and checking all of it.
import { count, moment, whole } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { eventsHash } from "../../inspector/filters.js";
import { useVerification } from "../../inspector/verify.js";
import { Failure } from "../failure.js";
import { Loaded } from "../loaded.js";
import { CopyBox } from "./copy_box.js";

/** @import { ChainHead, Verified } from "../../inspector/types.js" */

export function ChainCard() {
  const head = /** @type {import("../../load.js").Resource<ChainHead>} */ (useLoad("/api/admin/audit/head"));
  return html`
    <section class="card" aria-labelledby="hash-chain">
      <h2 id="hash-chain">Hash chain</h2>
      <p class="hint">Every commit holds a hash of all that came before it. Keep a checkpoint in another place: whoever has it can tell whether something up to there was changed later.</p>
      <${Verify} />
      <${Loaded} of=${head}>
        ${(/** @type {ChainHead} */ h) => html`
          <dl class="pairs">
            <div><dt>Newest</dt><dd>#${h.position}, ${moment(h.at)}</dd></div>
            <div><dt>Hash</dt><dd><code>${h.hash}</code></dd></div>
          </dl>
          <${CopyBox} label="Signed checkpoint" value=${h.checkpoint} rows=${6} />
          <${CopyBox} label="Key to check the signature with" value=${h.key} rows=${2} />
          <div class="buttons"><button type="button" class="small" disabled=${head.busy} onClick=${head.reload}>Newest checkpoint</button></div>
        `}
      <//>
    </section>
  `;
}

function Verify() {
  const { busy, done, total, result, error, start, stop } = useVerification();
  return html`
    <div class="verify">
      <div class="buttons">
        <button type="button" class="primary" disabled=${busy} onClick=${start}>${busy ? "Checking…" : "Check the whole chain"}</button>
        ${busy && html`<button type="button" onClick=${stop}>Stop</button>`}
        ${busy && total > 0 && html`<span class="hint numbers">${whole(done)} of ${whole(total)}</span>`}
      </div>
      ${busy && html`<progress aria-label="Checking the chain" max=${Math.max(total, 1)} value=${total ? done : undefined}></progress>`}
      <${Failure} error=${error} />
      <div role="status">${result && html`<${Outcome} result=${result} />`}</div>
    </div>
  `;
}

/** @param {{result: Verified}} props */
function Outcome({ result: { ok, events, position, problem } }) {
  if (ok) return html`<p class="good">The chain is whole: ${count(events, "event")} checked.</p>`;
  return html`
    <div class="callout">
      <strong>The chain is broken${position === null ? "" : html` at <a href=${eventsHash({}, { before: position + 1 })}>#${position}</a>`}.</strong> ${problem}
      <p>What comes before is as it was written. Compare the log with a backup before you trust what comes after.</p>
    </div>
  `;
}
