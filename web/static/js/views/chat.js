// One conversation.
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { Chat } from "../chat.js";
import { html } from "../html.js";
import { agents, sidebarOpen } from "../store.js";
import { Composer } from "./composer.js";
import { menu, retry } from "./icons.js";
import { Bubble, Writing } from "./message.js";
import { RunnerControl } from "./runner.js";

const NEAR_END_PX = 120;

/** @param {{id: string}} props */
export function ChatView({ id }) {
  const chat = useMemo(() => new Chat(id), [id]);
  useEffect(() => () => chat.close(), [chat]);
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const follows = useRef(true);
  const conversation = chat.conversation.value;
  const turn = chat.turn.value;
  const agent = agents.value.find((a) => a.id === conversation?.agent_id);

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
        ${agent && html`<${RunnerControl} agent=${agent} />`}
      </header>
      <div class="messages" ref=${list} onScroll=${onScroll} role="log" aria-label="Messages">
        <div class="column">
          ${conversation && !chat.messages.value.length && !turn && html`<p class="empty">Write the first message below. The agent starts by itself.</p>`}
          ${chat.messages.value.map((m) => html`<${Bubble} key=${m.id} message=${m} />`)}
          ${turn && html`<${Writing} turn=${turn} />`}
          ${agent?.failure && !turn && last?.status !== "failed" && html`<p class="crash" role="status"><strong>The agent is not running any more.</strong> ${agent.failure} <span class="why">The next message starts it again.</span></p>`}
          ${!turn && last && html`<p class="after">
            ${unanswered && html`<span class="why">${WHY[last.status]}</span>`}
            <button type="button" class="small" onClick=${() => chat.again()}>${retry} ${unanswered ? "Try again" : "Regenerate"}</button>
          </p>`}
        </div>
      </div>
      <${Composer} chat=${chat} />
    </main>
  `;
}

const WHY = /** @type {Record<string, string>} */ ({
  failed: "The answer failed.",
  interrupted: "The answer was interrupted by a restart of the server.",
  cancelled: "You stopped this answer.",
});
