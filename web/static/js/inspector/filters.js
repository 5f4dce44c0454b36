// Which events are looked at: kept in the address of the page, and asked for at the server.

/**
 * @typedef {object} Filters
 * @property {string[]} types none for all
 * @property {string} stream
 * @property {string} prefix of a stream's name
 * @property {string} user
 * @property {string} correlation
 * @property {string} since unix seconds
 * @property {string} until unix seconds
 */

const TEXTS = /** @type {const} */ (["stream", "prefix", "user", "correlation", "since", "until"]);

/** @type {Filters} */
export const NONE = { types: [], stream: "", prefix: "", user: "", correlation: "", since: "", until: "" };

/** @param {Filters} filters @returns {number} how many say something */
export const used = (filters) => Object.values(filters).filter((value) => value.length).length;

/** @param {URLSearchParams} query of the page's address @returns {Filters} */
export function readFilters(query) {
  const texts = Object.fromEntries(TEXTS.map((name) => [name, query.get(name) ?? ""]));
  return { ...NONE, ...texts, types: query.getAll("type") };
}

/**
 * @param {Partial<Filters>} filters
 * @param {Record<string, string | number>} [more] what else to ask for; what is empty or 0 is left out
 * @returns {string} a query, without the question mark
 */
export function queryOf(filters, more = {}) {
  const pairs = [
    ...(filters.types ?? []).map((type) => ["type", type]),
    ...[...TEXTS.map((name) => [name, filters[name] ?? ""]), ...Object.entries(more)].filter(([, value]) => value).map(([name, value]) => [name, String(value)]),
  ];
  return new URLSearchParams(pairs).toString().replaceAll("%3A", ":");
}

/** @param {Partial<Filters>} filters @param {Record<string, string | number>} [more] @returns {string} the address of the page that shows these events */
export function eventsHash(filters, more) {
  const query = queryOf(filters, more);
  return query ? `#/admin/events?${query}` : "#/admin/events";
}

/** @param {string} stream @param {number} [version] @returns {string} the address of the page that shows a stream */
export const streamHash = (stream, version = 0) => `#/admin/events/streams?${queryOf({ stream }, { version })}`;
