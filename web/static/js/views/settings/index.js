// Settings: what a person decides for themselves.
import { html } from "../../html.js";
import { Page } from "../page.js";
import { Account } from "./account.js";
import { Keys } from "./keys.js";
import { Tokens } from "./tokens.js";
import { MyUsage } from "./usage.js";

const TABS = [
  { id: "keys", label: "Keys", view: Keys },
  { id: "account", label: "Account", view: Account },
  { id: "tokens", label: "API tokens", view: Tokens },
  { id: "usage", label: "Usage", view: MyUsage },
];

/** @param {{tab: string}} props */
export function Settings({ tab }) {
  return html`<${Page} title="Settings" base="settings" tabs=${TABS} tab=${tab} />`;
}
