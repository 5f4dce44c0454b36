// The shapes that the inspector's part of the server answers with. Types only: nothing runs here.

/**
 * @typedef {object} LoggedEvent
 * @property {number} position
 * @property {string} stream
 * @property {number} version
 * @property {string} type
 * @property {number} time unix seconds
 * @property {number} time_us the same in microseconds
 * @property {string} actor such as "user:<id>", "runner:<id>", "system"
 * @property {string} correlation
 * @property {number | null} causation position of the event that brought it about
 * @property {string} owner id of the user whom it is about, or ""
 * @property {string} owner_email "" when there is none, or none any more
 * @property {Record<string, unknown>} payload secrets are masked
 * @property {boolean} erased
 * @property {string} problem why it, or a part of it, cannot be read; "" when all of it was
 */
/** @typedef {{events: LoggedEvent[], head: number, more: boolean}} EventList */
/** @typedef {{first: number, last: number, at: number, hash: string}} Commit */
/** @typedef {{event: LoggedEvent, commit: Commit | null, related: LoggedEvent[], effects: LoggedEvent[]}} OneEvent */
/** @typedef {{since: number, until: number, seconds: number, buckets: {at: number, counts: Record<string, number>}[]}} Timeline */

/** @typedef {{stream: string, version: number, position: number, changed_at: number, owner: string, owner_email: string}} Stream */
/** @typedef {Stream & {created_at: number}} DatedStream */
/** @typedef {{stream: string, version: number, event: LoggedEvent, state: Record<string, unknown>, previous: Record<string, unknown> | null}} StreamState */

/**
 * @typedef {object} Projection
 * @property {string} name
 * @property {number} version
 * @property {number} position
 * @property {number} saved_position
 * @property {number} lag
 * @property {number} rows
 * @property {number} events_per_second
 * @property {string} error
 * @property {{done: number, total: number} | null} rebuilding
 */
/** @typedef {{position: number, hash: string, at: number, checkpoint: string, key: string}} ChainHead */
/** @typedef {{ok: boolean, events: number, position: number | null, problem: string}} Verified */
/** @typedef {{total: number, free: number, kinds: {kind: string, bytes: number, files: number}[], events: {type: string, count: number, bytes: number}[]}} Disk */

export {};
