// Sums of usage: what the agents told of their tokens, and what they did not tell.

/** @import { Sums, UsageRow } from "./types.js" */

/**
 * Add up the rows that have the same key.
 * @template {UsageRow} R
 * @param {R[]} rows
 * @param {(row: R) => string} keyOf
 * @returns {(R & {key: string})[]} in the order in which the keys first come
 */
export function grouped(rows, keyOf) {
  /** @type {Map<string, any>} */
  const groups = new Map();
  for (const row of rows) {
    const key = keyOf(row);
    const sum = groups.get(key);
    if (sum) for (const name of SUMMED) sum[name] += row[name];
    else groups.set(key, { ...row, key });
  }
  return [...groups.values()];
}

const SUMMED = /** @type {(keyof Sums)[]} */ (["requests", "errors", "prompt_tokens", "completion_tokens", "unknown", "estimated", "runner_seconds"]);

/** @param {number} [back] how many months ago @returns {{since: number, until: number}} a month in UTC, as days are counted */
export function month(back = 0) {
  const now = new Date();
  /** @param {number} n */
  const begin = (n) => Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + n, 1) / 1000;
  return { since: begin(-back), until: begin(1 - back) };
}
