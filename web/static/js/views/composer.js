// Where the person writes.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { tell } from "../store.js";
import { send, stop } from "./icons.js";

/** @param {{chat: import("../chat.js").Chat, quiet: boolean, onAsk: () => void}} props `quiet` leaves the focus where it is */
export function Composer({ chat, quiet, onAsk }) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const writing = chat.turn.value !== null;

  useEffect(() => { if (!quiet) area.current?.focus(); }, [chat]);
  useEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);

  async function submit() {
    const content = text.trim();
    if (!content || busy || writing) return;
    setBusy(true);
    onAsk();
    try {
      await chat.ask(content);
      setText("");
    } catch (error) {
      tell(error); // What was written stays in the box.
    }
    setBusy(false);
    area.current?.focus();
  }

  /** @param {KeyboardEvent} event */
  function onKeyDown(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
  }

  return html`
    <form class="composer" onSubmit=${(/** @type {Event} */ e) => { e.preventDefault(); submit(); }}>
      <div class="column">
        <textarea
          ref=${area}
          rows="1"
          aria-label="Message"
          placeholder="Write a message"
          value=${text}
          onInput=${(/** @type {any} */ e) => setText(e.target.value)}
          onKeyDown=${onKeyDown}
        ></textarea>
        ${writing
          ? html`<button type="button" class="primary round" aria-label="Stop the answer" title="Stop" onClick=${() => chat.cancel()}>${stop}</button>`
          : html`<button class="primary round" aria-label="Send" title="Send" disabled=${busy || !text.trim()}>${send}</button>`}
      </div>
    </form>
  `;
}
