// The state at a version beside the one before, with what is different.
import { useState } from "preact/hooks";
import { count, whole } from "../../format.js";
import { html } from "../../html.js";
import { compare } from "../../inspector/difference.js";
import { Value } from "./fields.js";

/** @import { Line } from "../../inspector/difference.js" */

const MANY = 40;
const MOST = 500;
const SIGNS = { same: "", added: "+", removed: "−", changed: "±" };

/** @param {{before: Record<string, unknown> | null, after: Record<string, unknown>, version: number}} props */
export function StateDifference({ before, after, version }) {
  const [chosen, choose] = useState(/** @type {boolean | null} */ (null));
  const lines = compare(before, after);
  const only = chosen ?? lines.length > MANY;
  const different = lines.filter((line) => line.kind !== "same");
  const shown = only ? different : lines;
  return html`
    <div class="row">
      <span class="hint" role="status">${summary(different)}</span>
      <label class="check"><input type="checkbox" checked=${only} onChange=${() => choose(!only)} /> Only what is different</label>
    </div>
    ${shown.length > 0 && html`
      <table role="table" aria-label="State" class="difference">
        <thead role="rowgroup">
          <tr role="row"><th role="columnheader" scope="col">Part</th><th role="columnheader" scope="col">Version ${version - 1}</th><th role="columnheader" scope="col">Version ${version}</th></tr>
        </thead>
        <tbody role="rowgroup">${shown.slice(0, MOST).map((line) => html`<${Row} key=${line.path} line=${line} version=${version} />`)}</tbody>
      </table>
    `}
    ${shown.length > MOST && html`<p class="hint">The first ${MOST} of ${whole(shown.length)} parts.</p>`}
  `;
}

/** @param {{line: Line, version: number}} props */
function Row({ line: { path, kind, before, after }, version }) {
  return html`
    <tr role="row" class=${kind}>
      <th role="rowheader" scope="row" class="main"><span class="part"><span class="sign" aria-hidden="true">${SIGNS[kind]}</span><code>${breakable(path)}</code></span> ${kind !== "same" && html`<span class="unseen">${kind}</span>`}</th>
      <td role="cell" class="older" data-label=${`Version ${version - 1}`}>${kind !== "added" && html`<${Value} value=${before} name=${path} />`}</td>
      <td role="cell" class="newer" data-label=${`Version ${version}`}>${kind !== "removed" && html`<${Value} value=${after} name=${path} />`}</td>
    </tr>
  `;
}

/** @param {string} path which may break before its dots */
const breakable = (path) => path.split(".").map((part, n) => (n ? html`<wbr />.${part}` : part));

/** @param {Line[]} different */
function summary(different) {
  if (!different.length) return "Nothing is different from the version before.";
  const parts = /** @type {const} */ (["added", "changed", "removed"]).map((kind) => [kind, different.filter((line) => line.kind === kind).length]);
  return `${count(different.length, "difference")}: ${parts.filter(([, n]) => n).map(([kind, n]) => `${n} ${kind}`).join(", ")}`;
}
