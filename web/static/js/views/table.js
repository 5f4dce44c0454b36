// A table that becomes a list of cards where the screen is narrow. The roles say that it stays a table.
import { html } from "../html.js";

/**
 * @template R
 * @typedef {{label: string, cell: (row: R) => unknown, kind?: "main" | "short" | "number" | "actions"}} Column
 * "main" names the row; "short" and "number" stay on one line; the label of "actions" is for the ears only
 */

/**
 * @template R
 * @param {object} props
 * @param {string} props.caption what it lists, for the ears
 * @param {Column<R>[]} props.columns
 * @param {R[]} props.rows
 * @param {(row: R) => string} props.keyOf
 * @param {string} [props.empty] what to say when there are no rows
 */
export function Table({ caption, columns, rows, keyOf, empty = "" }) {
  if (!rows.length) return html`<p class="hint none">${empty}</p>`;
  return html`
    <table role="table" aria-label=${caption}>
      <thead role="rowgroup">
        <tr role="row">
          ${columns.map((c) => html`<th key=${c.label} role="columnheader" scope="col" class=${c.kind ?? ""}><span>${c.label}</span></th>`)}
        </tr>
      </thead>
      <tbody role="rowgroup">
        ${rows.map(
          (row) => html`
            <tr key=${keyOf(row)} role="row">
              ${columns.map((c) =>
                c.kind === "main"
                  ? html`<th key=${c.label} role="rowheader" scope="row" class="main">${c.cell(row)}</th>`
                  : html`<td key=${c.label} role="cell" class=${c.kind ?? ""} data-label=${c.label}>${c.cell(row)}</td>`,
              )}
            </tr>
          `,
        )}
      </tbody>
    </table>
  `;
}
