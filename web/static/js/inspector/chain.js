// What brought about what, among the events of one request or job.

/** @import { LoggedEvent, OneEvent } from "./types.js" */
/** @typedef {{event: LoggedEvent, effects: Node[]}} Node */

/**
 * @param {OneEvent} one
 * @returns {Node[]} those that nothing else here brought about, in the order of the log, with what each brought about
 */
export function chainOf({ event, related, effects }) {
  const all = new Map([event, ...related, ...effects].map((e) => [e.position, e]));
  const nodes = new Map([...all.values()].sort((a, b) => a.position - b.position).map((e) => [e.position, /** @type {Node} */ ({ event: e, effects: [] })]));
  /** @type {Node[]} */
  const roots = [];
  for (const node of nodes.values()) {
    const cause = node.event.causation === null ? undefined : nodes.get(node.event.causation);
    (cause ? cause.effects : roots).push(node);
  }
  return roots;
}
