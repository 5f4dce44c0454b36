// Where the page begins.
import { render } from "preact";
import { html } from "./html.js";
import { begin, refreshQuietly } from "./store.js";
import { applyTheme } from "./theme.js";
import { App } from "./views/app.js";

const REFRESH_MS = 5000;

applyTheme();
const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.replaceChildren();
render(html`<${App} />`, root);
begin();
setInterval(refreshQuietly, REFRESH_MS);
addEventListener("focus", refreshQuietly);
