// The frame of a section with several pages: its title, its tabs and the chosen page.
import { html } from "../html.js";
import { sidebarOpen } from "../store.js";
import { menu } from "./icons.js";

/** @typedef {{id: string, label: string, view: import("preact").FunctionComponent}} Tab */

/** Where the screen is narrow, the tabs are wider than it. @param {HTMLElement | null} tab */
const show = (tab) => tab?.scrollIntoView({ block: "nearest", inline: "center" });

/** @param {{title: string, base: string, tabs: Tab[], tab: string}} props `base` and a tab's id make its address */
export function Page({ title, base, tabs, tab }) {
  const current = tabs.find((t) => t.id === tab) ?? tabs[0];
  return html`
    <main class="page">
      <header class="bar">
        <button type="button" class="icon-button menu" aria-label="Conversations" onClick=${() => (sidebarOpen.value = true)}>${menu}</button>
        <h1>${title}</h1>
      </header>
      <nav class="tabs" aria-label=${title}>
        ${tabs.map((t) => html`<a key=${t.id} href="#/${base}/${t.id}" aria-current=${t === current ? "page" : undefined} ref=${t === current ? show : undefined}>${t.label}</a>`)}
      </nav>
      <div class="page-body" key=${current.id}>
        <div class="page-column"><${current.view} /></div>
      </div>
    </main>
  `;
}
