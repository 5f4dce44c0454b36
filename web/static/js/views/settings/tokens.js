// API tokens: keys with which a person's programs work as them.
import { useState } from "preact/hooks";
import { call } from "../../api.js";
import { ago, day } from "../../format.js";
import { html } from "../../html.js";
import { useLoad } from "../../load.js";
import { tell } from "../../store.js";
import { Loaded } from "../loaded.js";
import { Opener } from "../opener.js";
import { Secret } from "../secret.js";
import { Table } from "../table.js";
import { NewToken } from "./new_token.js";
import { Example } from "./token_example.js";

/** @import { Token } from "../../types.js" */
/** @typedef {{token: Token, secret: string}} Made */

export function Tokens() {
  const tokens = /** @type {import("../../load.js").Resource<{tokens: Token[]}>} */ (useLoad("/api/me/tokens"));
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState(/** @type {Made | null} */ (null));

  /** @param {Made} answer */
  function onMade(answer) {
    setMaking(false);
    setMade(answer);
    tokens.reload();
  }

  /** @param {Token} token */
  async function revoke(token) {
    if (!confirm(`Revoke “${token.name}”? Programs that use it stop working at once.`)) return;
    if (made?.token.id === token.id) setMade(null);
    await call("DELETE", `/api/me/tokens/${token.id}`).then(tokens.reload).catch(tell);
  }

  return html`
    <${Opener} label="New token" open=${making} setOpen=${setMaking} beside=${html`<p class="hint">A token lets a program use your agents as you, through the OpenAI API at <code>${location.origin}/v1</code>.</p>`}>
      <${NewToken} onMade=${onMade} onCancel=${() => setMaking(false)} />
    <//>
    ${made && html`
      <${Secret} key=${made.token.id} title="“${made.token.name}” is ready" fields=${[{ label: "Token", value: made.secret }]} onDone=${() => setMade(null)}>
        <${Example} model=${made.token.models[0]} />
      <//>
    `}
    <${Loaded} of=${tokens}>
      ${(/** @type {{tokens: Token[]}} */ found) => html`
        <${Table} caption="API tokens" columns=${columns(revoke)} rows=${found.tokens} keyOf=${(/** @type {Token} */ t) => t.id} empty="You have no tokens yet." />
      `}
    <//>
  `;
}

/** @param {(token: Token) => void} revoke @returns {import("../table.js").Column<Token>[]} */
function columns(revoke) {
  return [
    { label: "Name", kind: "main", cell: (t) => html`${t.name} <code class="sub">${t.prefix}…</code>` },
    { label: "May use", cell: (t) => html`${t.scope === "v1" ? "The OpenAI API" : "Everything"} <span class="sub">${t.models.length ? t.models.join(", ") : "all models"}</span>` },
    { label: "Made", kind: "short", cell: (t) => html`${day(t.created_at)} ${t.older_than_password && html`<span class="sub">before your password</span>`}` },
    { label: "Last used", kind: "short", cell: (t) => (t.last_used_at ? ago(t.last_used_at) : "never") },
    { label: "Ends", kind: "short", cell: (t) => expiry(t.expires_at) },
    { label: "Actions", kind: "actions", cell: (t) => html`<button type="button" class="small danger" aria-label="Revoke ${t.name}" onClick=${() => revoke(t)}>Revoke</button>` },
  ];
}

/** @param {number | null} at */
function expiry(at) {
  if (at === null) return "never";
  return at * 1000 > Date.now() ? day(at) : html`<span class="badge bad">${day(at)}, over</span>`;
}
