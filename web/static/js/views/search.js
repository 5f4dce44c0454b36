// The search field of the sidebar. What it finds stands in the place of the conversations.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { revisit } from "../route.js";
import { useSearch } from "../search.js";
import { sidebarOpen } from "../store.js";
import { Hits, hrefOf, optionId } from "./hits.js";
import { lens } from "./icons.js";

const LONGEST = 200;

/** @param {{children: unknown}} props what is shown while nothing is searched for */
export function Search({ children }) {
  const [typed, type] = useState("");
  const [chosen, choose] = useState(0);
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const text = typed.trim().replace(/\s+/g, " ");
  const { found, now } = useSearch(text);
  const hits = text && found ? found.hits : [];
  useShortcut(field);
  useLayoutEffect(() => choose(0), [found]); // Before an arrow key can move on from it.
  useEffect(() => document.getElementById(optionId(chosen))?.scrollIntoView({ block: "nearest" }), [chosen, found]);

  /** @param {KeyboardEvent} event */
  function onKeyDown(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      if (typed) type("");
      else field.current?.blur();
    } else if (event.key === "Enter") {
      if (found?.text !== text || found.error) now();
      else if (hits[chosen]) open(chosen);
    } else if (hits.length && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      choose((chosen + (event.key === "ArrowDown" ? 1 : -1) + hits.length) % hits.length);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** @param {number} n */
  function open(n) {
    choose(n);
    sidebarOpen.value = false;
    revisit(hrefOf(hits[n]));
  }

  return html`
    <div class="search-field" role="search">
      ${lens}
      <input
        ref=${field}
        type="search"
        role="combobox"
        aria-label="Search messages"
        aria-keyshortcuts="/ Control+K Meta+K"
        aria-autocomplete="list"
        aria-expanded=${hits.length > 0}
        aria-controls="hits"
        aria-activedescendant=${hits.length ? optionId(chosen) : undefined}
        placeholder="Search messages"
        maxlength=${LONGEST}
        autocomplete="off"
        autocapitalize="off"
        spellcheck=${false}
        value=${typed}
        onInput=${(/** @type {any} */ e) => type(e.target.value)}
        onKeyDown=${onKeyDown}
      />
      <kbd aria-hidden="true">/</kbd>
    </div>
    ${text ? html`<${Hits} text=${text} found=${found} chosen=${chosen} open=${open} />` : children}
  `;
}

/** Have `/`, where nobody types, and Ctrl+K put the focus into the field. @param {{current: HTMLInputElement | null}} field */
function useShortcut(field) {
  useEffect(() => {
    function enter() {
      field.current?.focus();
      field.current?.select();
    }

    /** @param {KeyboardEvent} event */
    function onKeyDown(event) {
      const target = /** @type {HTMLElement} */ (event.target);
      const types = target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
      const slash = event.key === "/" && !types && !event.ctrlKey && !event.metaKey && !event.altKey;
      const k = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey;
      if (!(slash || k) || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      sidebarOpen.value = true;
      enter();
      if (document.activeElement !== field.current) requestAnimationFrame(enter); // Where the screen is narrow, it is to be seen first.
    }

    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, []);
}
