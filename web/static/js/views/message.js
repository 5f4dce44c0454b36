// Messages, finished and growing.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { drawable } from "../density.js";
import { decorate, toHtml } from "../markdown.js";

/** @import { LiveTurn, Message } from "../types.js" */

const LONG = 20_000;
const LONG_MS = 300;
const PAUSES = 10;

/** @param {{message: Message, sought: boolean}} props `sought` when the page was opened to show it */
export function Bubble({ message, sought }) {
  const content = useMemo(() => drawable(message.content), [message.content]);
  const about = { "data-message": message.id, tabindex: sought ? -1 : undefined };
  const kind = sought ? "message sought" : "message";
  if (message.role === "user") return html`<div class="${kind} user" ...${about}><div class="text">${content}</div></div>`;
  if (message.role === "error") return html`<div class="${kind} failed" role="alert" ...${about}><div class="text">${content}</div></div>`;
  return html`<div class="${kind} assistant" ...${about}><${Markdown} text=${content} finished=${true} /></div>`;
}

/** @param {{turn: LiveTurn}} props */
export function Writing({ turn }) {
  const newest = useThrottled(turn.text);
  const text = useMemo(() => drawable(newest), [newest]);
  if (!turn.text) {
    return html`<div class="message assistant pending">${turn.progress ? html`<${ColdStart} turn=${turn} />` : html`<span class="typing" aria-label="The agent is thinking"><i></i><i></i><i></i></span>`}</div>`;
  }
  return html`<div class="message assistant growing" aria-busy="true"><${Markdown} text=${text} finished=${false} /></div>`;
}

/** @param {{turn: LiveTurn}} props */
function ColdStart({ turn }) {
  const progress = turn.progress;
  if (!progress || progress.stage === "ready") return html`<span class="typing" aria-label="The agent is thinking"><i></i><i></i><i></i></span>`;
  return html`
    <div class="coldstart">
      <div class="row"><span>${progress.message}</span><span class="percent">${progress.progress} %</span></div>
      <progress max="100" value=${progress.progress} aria-label="Starting the agent"></progress>
      <div class="hint">${progress.detail}</div>
    </div>
  `;
}

/** @param {{text: string, finished: boolean}} props */
function Markdown({ text, finished }) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  const safe = useMemo(() => toHtml(text), [text]);
  useEffect(() => {
    if (finished && safe !== null && element.current) decorate(element.current);
  }, [safe, finished]);
  if (safe === null) {
    return html`
      ${finished && html`<p key="why" class="hint">Shown as it was written: it would take too long to format.</p>`}
      <div key="plain" class="text plain">${text}</div>
    `;
  }
  return html`<div key="markdown" class="text markdown" ref=${element} dangerouslySetInnerHTML=${{ __html: safe }}></div>`;
}

/**
 * Showing a long text again for every picture would stutter: do it now and then, with pauses that are longer than it
 * takes.
 * @param {string} text
 */
function useThrottled(text) {
  const shown = useRef(text);
  const began = performance.now();
  const pause = useRef(LONG_MS);
  const newest = useRef(text);
  const [round, next] = useState(0);
  newest.current = text;
  if (text.length < LONG) shown.current = text;
  const behind = shown.current !== text;
  const current = shown.current;
  // Effects are run after the picture is there.
  useEffect(() => void (pause.current = Math.max(LONG_MS, PAUSES * (performance.now() - began))), [current]);
  useEffect(() => {
    if (!behind) return;
    const timer = setTimeout(() => {
      shown.current = newest.current;
      next(round + 1);
    }, pause.current);
    return () => clearTimeout(timer);
  }, [behind, round]);
  return shown.current;
}
