// One conversation.
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { Chat } from "../chat.js";
import { html } from "../html.js";
import { agents, backends, sidebarOpen } from "../store.js";
import { Composer } from "./composer.js";
import { Download } from "./download.js";
import { menu, retry } from "./icons.js";
import { Bubble, Writing } from "./message.js";
import { RunnerControl } from "./runner.js";

const NEAR_END_PX = 120;

/** @param {{here: {id: string, message: string}}} props the conversation, and the message in it to show, "" for the end */
export function ChatView({ here }) {
  const { id, message } = here;
  const chat = useMemo(() => new Chat(id), [id]);
  useEffect(() => () => chat.close(), [chat]);
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const follows = useRef(true);
  const conversation = chat.conversation.value;
  const turn = chat.turn.value;
  const agent = agents.value.find((a) => a.id === conversation?.agent_id);
  const backend = backends.value.find((b) => b.name === conversation?.backend);

  // Opened from a search: show the message, as soon as it is here.
  useLayoutEffect(() => {
    if (message && conversation && list.current) follows.current = !show(list.current, message);
  }, [here, conversation !== null]);

  // Stay at the end while the answer grows, unless the person has scrolled up to read.
  useLayoutEffect(() => {
    const element = list.current;
    if (element && follows.current) element.scrollTop = element.scrollHeight;
  });

  function onScroll() {
    const element = list.current;
    if (element) follows.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END_PX;
  }

  if (chat.missing.value) {
    return html`<main class="chat"><p class="empty">This conversation does not exist any more. <a href="#/">Back to the start</a></p></main>`;
  }
  const last = chat.lastTurn.value;
  const unanswered = !turn && last && ["failed", "interrupted", "cancelled"].includes(last.status);
  return html`
    <main class="chat">
      <header class="bar">
        <button type="button" class="icon-button menu" aria-label="Conversations" onClick=${() => (sidebarOpen.value = true)}>${menu}</button>
        <h1>${conversation?.title || "New chat"}</h1>
        ${chat.messages.value.length > 0 && html`<${Download} id=${id} />`}
        ${agent && html`<${RunnerControl} agent=${agent} />`}
      </header>
      <div class="messages" ref=${list} onScroll=${onScroll} role="log" aria-label="Messages">
        <div class="column">
          ${conversation && !chat.messages.value.length && !turn && html`<p class="empty">Write the first message below. The agent starts by itself.</p>`}
          ${chat.messages.value.map((m) => html`<${Bubble} key=${m.id} message=${m} sought=${m.id === message} />`)}
          ${turn && html`<${Writing} turn=${turn} />`}
          ${agent?.failure && !turn && last?.status !== "failed" && html`<p class="crash" role="status"><strong>The agent is not running any more.</strong> ${agent.failure} <span class="why">The next message starts it again.</span></p>`}
          ${!turn && last && html`<p class="after">
            ${unanswered && html`<span class="why">${WHY[last.status]}</span>`}
            <button type="button" class="small" onClick=${() => chat.again()}>${retry} ${unanswered ? "Try again" : "Regenerate"}</button>
            ${last.status === "failed" && Boolean(backend?.user_overridable_env.length) && html`<a class="why" href="#/settings/keys">Check its keys</a>`}
          </p>`}
        </div>
      </div>
      <${Composer} chat=${chat} quiet=${message !== ""} onAsk=${() => (follows.current = true)} />
    </main>
  `;
}

/** @param {HTMLElement} list @param {string} id of a message @returns {boolean} whether it is there */
function show(list, id) {
  const found = /** @type {HTMLElement | null} */ (list.querySelector(`[data-message="${CSS.escape(id)}"]`));
  if (!found) return false;
  found.scrollIntoView({ block: found.offsetHeight < list.clientHeight ? "center" : "start" });
  found.focus({ preventScroll: true });
  return true;
}

const WHY = /** @type {Record<string, string>} */ ({
  failed: "The answer failed.",
  interrupted: "The answer was interrupted by a restart of the server.",
  cancelled: "You stopped this answer.",
});
