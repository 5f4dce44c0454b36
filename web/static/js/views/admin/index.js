// Administration: what the admin decides for everybody.
import { html } from "../../html.js";
import { lazy } from "../lazy.js";
import { Page } from "../page.js";
import { Invites } from "./invites.js";
import { SharedKeys } from "./keys.js";
import { Runners } from "./runners.js";
import { AllUsage } from "./usage.js";
import { Users } from "./users.js";

const Inspector = lazy(() => import("../inspector/index.js").then((m) => m.Inspector), html`<p class="loading" role="status">Loading…</p>`);

const TABS = [
  { id: "users", label: "Users", view: Users },
  { id: "invites", label: "Invites", view: Invites },
  { id: "keys", label: "Keys", view: SharedKeys },
  { id: "usage", label: "Usage", view: AllUsage },
  { id: "runners", label: "Runners", view: Runners },
  { id: "events", label: "Events", view: Inspector },
];

/** @param {{tab: string}} props */
export function Admin({ tab }) {
  return html`<${Page} title="Administration" base="admin" tabs=${TABS} tab=${tab} />`;
}
