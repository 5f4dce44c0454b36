// The events of one request or job, each below the one that brought it about.
import { html } from "../../html.js";
import { Marks } from "./marks.js";

/** @import { Node } from "../../inspector/chain.js" */

/** @param {{roots: Node[], current: number, hrefOf: (position: number) => string}} props */
export function Chain({ roots, current, hrefOf }) {
  const begin = roots[0]?.event.time_us ?? 0;
  return html`<div class="chain"><${Level} nodes=${roots} current=${current} hrefOf=${hrefOf} begin=${begin} /></div>`;
}

/** @param {{nodes: Node[], current: number, hrefOf: (position: number) => string, begin: number}} props */
function Level({ nodes, current, hrefOf, begin }) {
  return html`
    <ul>
      ${nodes.map(
        ({ event, effects }) => html`
          <li key=${event.position}>
            <a href=${hrefOf(event.position)} aria-current=${event.position === current ? "true" : undefined}>
              <span class="sub">#${event.position}</span> ${event.type}<${Marks} event=${event} /> <span class="sub">${later(event.time_us - begin)}</span>
            </a>
            ${effects.length > 0 && html`<${Level} nodes=${effects} current=${current} hrefOf=${hrefOf} begin=${begin} />`}
          </li>
        `,
      )}
    </ul>
  `;
}

/** @param {number} us after the first one */
function later(us) {
  if (us <= 0) return "";
  return us < 1e6 ? `+${Math.max(1, Math.round(us / 1000))} ms` : `+${(us / 1e6).toFixed(us < 1e7 ? 1 : 0)} s`;
}
