// Whether the log is whole, what is made of it, and what it takes.
import { html } from "../../html.js";
import { ChainCard } from "./chain_card.js";
import { DiskUse } from "./disk.js";
import { Projections } from "./projections.js";

export function Health() {
  return html`<${ChainCard} /><${Projections} /><${DiskUse} />`;
}
