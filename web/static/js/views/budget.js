// How much of a month's tokens is used.
import { utcDate, whole } from "../format.js";
import { html } from "../html.js";

/** @import { Budget as Limits } from "../types.js" */

/** @param {{budget: Limits}} props with a limit */
export function Budget({ budget }) {
  const limit = budget.monthly_tokens ?? 0;
  const over = budget.used >= limit;
  return html`
    <section class=${over ? "card budget over" : "card budget"} aria-labelledby="budget">
      <div class="row">
        <h2 id="budget">Budget of this month</h2>
        <span class="numbers">${whole(budget.used)} of ${whole(limit)} tokens</span>
      </div>
      <progress max=${Math.max(limit, 1)} value=${Math.min(budget.used, limit)} aria-labelledby="budget"></progress>
      <p class="hint">${over ? "The budget is used up. " : ""}It starts anew on ${utcDate(budget.resets_at)}.</p>
    </section>
  `;
}
