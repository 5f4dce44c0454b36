// The event log for the admin: who did what and when, what it adds up to, and whether it is whole.
import { html } from "../../html.js";
import { route } from "../../route.js";
import { Events } from "./events.js";
import { Health } from "./health.js";
import { Streams } from "./streams.js";
import { UsersKnown } from "./who.js";

const BASE = "#/admin/events";
const PARTS = [
  { sub: "", label: "Events", view: Events },
  { sub: "streams", label: "Streams", view: Streams },
  { sub: "health", label: "Health", view: Health },
];

export function Inspector() {
  const here = route.value;
  if (here.name !== "admin") return null;
  const current = PARTS.find((p) => p.sub === here.sub) ?? PARTS[0];
  return html`
    <div class="inspector">
      <nav class="parts" aria-label="Event log">
        ${PARTS.map((p) => html`<a key=${p.sub} href=${p.sub ? `${BASE}/${p.sub}` : BASE} aria-current=${p === current ? "true" : undefined}>${p.label}</a>`)}
      </nav>
      <${UsersKnown}><${current.view} key=${current.sub} query=${here.query} /><//>
    </div>
  `;
}
