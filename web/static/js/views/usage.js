// The parts that a person's usage and everybody's usage are shown with.
import { count, duration, utcMonth, whole } from "../format.js";
import { html } from "../html.js";
import { month } from "../usage.js";

/** @import { Sums } from "../types.js" */

const MONTHS = 13;

/** @param {{back: number, choose: (back: number) => void}} props how many months ago */
export function MonthChoice({ back, choose }) {
  const options = Array.from({ length: MONTHS }, (_, n) => html`<option key=${n} value=${n} selected=${n === back}>${utcMonth(month(n).since)}</option>`);
  return html`
    <div class="row">
      <label class="inline">Month<select onChange=${(/** @type {any} */ e) => choose(Number(e.target.value))}>${options}</select></label>
      <span class="hint">Days are counted in UTC.</span>
    </div>
  `;
}

/** @param {{totals: Sums}} props */
export function Tiles({ totals }) {
  const { requests, errors, prompt_tokens, completion_tokens, unknown, estimated, runner_seconds } = totals;
  const told = requests === 0 || unknown < requests;
  return html`
    <dl class="tiles">
      <div><dt>Requests</dt><dd>${whole(requests)}</dd></div>
      <div><dt>Errors</dt><dd class=${errors ? "error" : ""}>${whole(errors)}</dd></div>
      <div>
        <dt>Tokens</dt>
        <dd>${told ? whole(prompt_tokens + completion_tokens) : "unknown"}</dd>
        ${told && html`<dd class="hint">${whole(prompt_tokens)} in, ${whole(completion_tokens)} out</dd>`}
        ${unknown > 0 && html`<dd class="hint">${told ? "+ " : ""}${count(unknown, "request")} unknown</dd>`}
      </div>
      <div><dt>Agents ran</dt><dd>${duration(runner_seconds)}</dd><dd class="hint">counted when they stop</dd></div>
    </dl>
    ${unknown > 0 && html`<p class="hint">Unknown: the agent did not tell how many tokens a request took.</p>`}
    ${estimated > 0 && html`<p class="hint">For answers that were broken off before that was told, ${whole(estimated)} tokens count for a budget: an estimate, by their size or by what answers took on average.</p>`}
  `;
}

/** @returns {import("./table.js").Column<any>[]} */
export function sumColumns() {
  return [
    { label: "Requests", kind: "number", cell: (r) => whole(r.requests) },
    { label: "Errors", kind: "number", cell: (r) => html`<span class=${r.errors ? "error" : ""}>${whole(r.errors)}</span>` },
    { label: "Tokens in", kind: "number", cell: (r) => tokens(r, r.prompt_tokens) },
    { label: "Tokens out", kind: "number", cell: (r) => tokens(r, r.completion_tokens) },
    { label: "Ran", kind: "number", cell: (r) => duration(r.runner_seconds) },
  ];
}

/** @param {Sums} row @param {number} told */
function tokens(row, told) {
  if (!row.unknown) return whole(told);
  if (row.unknown >= row.requests) return html`<span class="hint">unknown</span>`;
  const title = `${count(row.unknown, "request")} of ${whole(row.requests)}: the agent did not tell`;
  return html`${whole(told)} <span class="sub" title=${title}>+ ${whole(row.unknown)} unknown</span>`;
}
