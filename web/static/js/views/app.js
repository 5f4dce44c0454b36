// The frame of the page: who may see what.
import { html } from "../html.js";
import { route } from "../route.js";
import { notice, sidebarOpen, signin, user } from "../store.js";
import { ChatView } from "./chat.js";
import { Home } from "./home.js";
import { Sidebar } from "./sidebar.js";
import { SignIn } from "./signin.js";

export function App() {
  if (user.value === undefined) return html`<${Notice} /><p class="loading">Loading…</p>`;
  if (user.value === null) {
    const token = route.value.name === "setup" ? route.value.token : "";
    return html`<${Notice} /><${SignIn} key=${signin.value?.needs_setup} token=${token} />`;
  }
  const id = route.value.name === "chat" ? route.value.id : "";
  return html`
    <${Notice} />
    <div class=${sidebarOpen.value ? "frame with-sidebar" : "frame"}>
      <${Sidebar} current=${id} />
      <div class="scrim" onClick=${() => (sidebarOpen.value = false)}></div>
      ${id ? html`<${ChatView} key=${id} id=${id} />` : html`<${Home} />`}
    </div>
  `;
}

function Notice() {
  if (!notice.value) return null;
  return html`
    <div class="notice" role="alert">
      <span>${notice.value}</span>
      <button type="button" onClick=${() => (notice.value = "")}>Dismiss</button>
    </div>
  `;
}
