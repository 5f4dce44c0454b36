// The frame of the page: who may see what.
import { html } from "../html.js";
import { route } from "../route.js";
import { notice, sidebarOpen, signin, user } from "../store.js";
import { ChatView } from "./chat.js";
import { Reason } from "./failure.js";
import { Home } from "./home.js";
import { lazy } from "./lazy.js";
import { Sidebar } from "./sidebar.js";
import { SignIn } from "./signin.js";

const Settings = lazy(() => import("./settings/index.js").then((m) => m.Settings));
const Admin = lazy(() => import("./admin/index.js").then((m) => m.Admin));

export function App() {
  const here = route.value;
  if (user.value === undefined) return html`<${Notice} /><p class="loading">Loading…</p>`;
  if (user.value === null) {
    const token = here.name === "setup" ? here.token : "";
    const invite = here.name === "signup" ? here.invite : null;
    return html`<${Notice} /><${SignIn} key=${`${signin.value?.needs_setup} ${invite}`} token=${token} invite=${invite} />`;
  }
  return html`
    <${Notice} />
    <div class=${sidebarOpen.value ? "frame with-sidebar" : "frame"}>
      <${Sidebar} here=${here} />
      <div class="scrim" onClick=${() => (sidebarOpen.value = false)}></div>
      <${View} here=${here} />
    </div>
  `;
}

/** @param {{here: import("../route.js").Route}} props */
function View({ here }) {
  if (here.name === "chat") return html`<${ChatView} key=${here.id} here=${here} />`;
  if (here.name === "settings") return html`<${Settings} tab=${here.tab} />`;
  if (here.name === "admin" && user.value?.role === "admin") return html`<${Admin} tab=${here.tab} />`;
  return html`<${Home} />`;
}

function Notice() {
  if (!notice.value) return null;
  return html`
    <div class="notice" role="alert">
      <${Reason} error=${notice.value} />
      <button type="button" onClick=${() => (notice.value = null)}>Dismiss</button>
    </div>
  `;
}
