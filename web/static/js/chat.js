// One open conversation: its messages, the answer being written, and the stream that keeps both up to date.
import { batch, signal } from "@preact/signals";
import { call } from "./api.js";
import { refreshQuietly, setAgentState, tell } from "./store.js";

/** @import { Conversation, LiveTurn, Message, Turn } from "./types.js" */

const RETRY_MS = 2000;

export class Chat {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    /** @type {import("@preact/signals").Signal<Conversation | null>} */
    this.conversation = signal(null);
    /** @type {import("@preact/signals").Signal<Message[]>} */
    this.messages = signal([]);
    /** @type {import("@preact/signals").Signal<LiveTurn | null>} */
    this.turn = signal(null);
    /** @type {import("@preact/signals").Signal<Turn | null>} the newest turn, however it ended */
    this.lastTurn = signal(null);
    this.missing = signal(false);
    this.connected = signal(false);
    /** @type {EventSource | null} */
    this.source = null;
    this.closed = false;
    /** @type {any[]} pieces of the answer that wait for the next picture */
    this.unshown = [];
    this.open();
  }

  /** Load the conversation, then follow it from exactly there. */
  async open() {
    try {
      const whole = await call("GET", `/api/conversations/${this.id}`);
      if (this.closed) return;
      const running = whole.conversation.running_turn;
      this.unshown = []; // What of it is still true is in what was just loaded.
      batch(() => {
        this.conversation.value = whole.conversation;
        this.messages.value = whole.messages;
        this.lastTurn.value = whole.last_turn;
        this.turn.value = running ? { id: running, text: "", length: 0, progress: null } : null;
      });
      this.follow(whole.event_id);
    } catch (error) {
      if (/** @type {any} */ (error).status === 404) this.missing.value = true;
      else if (!this.closed) setTimeout(() => this.open(), RETRY_MS);
    }
  }

  /** @param {string} eventId */
  follow(eventId) {
    const source = new EventSource(`/api/conversations/${this.id}/stream?last_event_id=${eventId}`);
    this.source = source;
    source.onopen = () => (this.connected.value = true);
    source.onmessage = (event) => {
      const { kind, payload } = JSON.parse(event.data);
      if (kind === "turn_delta") return this.gather(payload);
      this.show();
      batch(() => this.take(kind, payload));
    };
    source.onerror = () => {
      this.connected.value = false;
      // The browser reconnects by itself, from the last event, unless the server refused.
      if (source.readyState === EventSource.CLOSED && !this.closed) setTimeout(() => this.open(), RETRY_MS);
    };
  }

  /** An agent may write faster than a phone can lay out: pieces are shown together, once for each picture. @param {any} delta */
  gather(delta) {
    if (this.unshown.push(delta) === 1) requestAnimationFrame(() => this.show());
  }

  show() {
    const deltas = this.unshown.splice(0);
    batch(() => deltas.forEach((delta) => this.take("turn_delta", delta)));
  }

  close() {
    this.closed = true;
    this.source?.close();
  }

  /** @param {string} kind @param {any} payload */
  take(kind, payload) {
    switch (kind) {
      case "runner_status":
        setAgentState(payload.agent_id, payload.state, payload.failure);
        break;
      case "message":
        this.add(payload);
        break;
      case "messages_dropped":
        this.dropAfter(payload.after_message_id);
        break;
      case "conversation_renamed":
        if (this.conversation.value) this.conversation.value = { ...this.conversation.value, title: payload.title };
        refreshQuietly();
        break;
      case "conversation_deleted":
        this.missing.value = true;
        this.close();
        break;
      case "turn_started":
        this.turn.value = { id: payload.turn_id, text: "", length: 0, progress: null };
        this.lastTurn.value = { id: payload.turn_id, status: "running" };
        break;
      case "turn_progress":
        if (this.turn.value) this.turn.value = { ...this.turn.value, progress: payload };
        break;
      case "turn_snapshot":
        this.write(payload.turn_id, payload.text, 0, "");
        break;
      case "turn_delta":
        this.write(payload.turn_id, payload.text, payload.offset, this.turn.value?.text ?? "");
        break;
      case "turn_finished":
        this.end(payload.turn_id, payload.finish_reason === "cancelled" ? "cancelled" : "finished", [payload.message]);
        break;
      case "turn_failed":
        this.end(payload.turn_id, "failed", [payload.partial, payload.message]);
        break;
      case "turn_interrupted":
        this.end(payload.turn_id, "interrupted", [payload.message]);
        break;
    }
  }

  /** @param {Message | null} message */
  add(message) {
    if (!message || !message.content || this.messages.value.some((m) => m.id === message.id)) return;
    this.messages.value = [...this.messages.value, message];
  }

  /** @param {string} messageId */
  dropAfter(messageId) {
    const index = this.messages.value.findIndex((m) => m.id === messageId);
    if (index >= 0) this.messages.value = this.messages.value.slice(0, index + 1);
  }

  /**
   * Offsets count characters as the server does, which is not what `length` of a string counts.
   * @param {string} id @param {string} text @param {number} offset @param {string} before
   */
  write(id, text, offset, before) {
    const known = this.turn.value;
    if (offset && offset !== known?.length) return; // Ours already, or a gap that the next snapshot closes.
    const length = offset + Array.from(text).length;
    this.turn.value = { id, text: before + text, length, progress: length ? null : (known?.progress ?? null) };
  }

  /** @param {string} id @param {string} status @param {(Message | null)[]} messages */
  end(id, status, messages) {
    messages.forEach((m) => this.add(m));
    if (this.turn.value?.id === id) this.turn.value = null;
    this.lastTurn.value = { id, status };
    refreshQuietly();
  }

  /** @param {string} content */
  async ask(content) {
    const { turn } = await call("POST", `/api/conversations/${this.id}/turns`, { content });
    this.add(turn.user_message);
  }

  async cancel() {
    const turn = this.turn.value;
    if (turn) await call("POST", `/api/conversations/${this.id}/turns/${turn.id}/cancel`).catch(tell);
  }

  async again() {
    const turn = this.lastTurn.value;
    if (turn) await call("POST", `/api/conversations/${this.id}/turns/${turn.id}/regenerate`).catch(tell);
  }
}
