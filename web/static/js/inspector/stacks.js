// Counts of events by type and span, stacked for the chart.

/** @import { Timeline } from "./types.js" */
/** @typedef {{name: string, types: string[], total: number, counts: number[]}} Layer the last one may stand for all the rarer types */
/** @typedef {{start: number, seconds: number, size: number, layers: Layer[], total: number}} Stacks `size` is how many spans there are */

export const COLOURS = 8;

/** @param {Timeline} timeline @returns {Stacks} the most frequent type first */
export function stacksOf({ since, until, seconds, buckets }) {
  const start = Math.floor(since / seconds) * seconds;
  const size = Math.max(1, Math.ceil((until - start) / seconds));
  /** @type {Map<string, Layer>} */
  const byType = new Map();
  for (const { at, counts } of buckets) {
    const n = Math.min(size - 1, Math.max(0, Math.floor((at - start) / seconds)));
    for (const [type, count] of Object.entries(counts)) {
      const layer = byType.get(type) ?? { name: type, types: [type], total: 0, counts: Array(size).fill(0) };
      byType.set(type, layer);
      layer.counts[n] += count;
      layer.total += count;
    }
  }
  const all = [...byType.values()].sort((a, b) => b.total - a.total || a.name.localeCompare(b.name));
  const total = all.reduce((sum, layer) => sum + layer.total, 0);
  if (all.length <= COLOURS) return { start, seconds, size, layers: all, total };
  const rest = all.slice(COLOURS - 1);
  const others = {
    name: `${rest.length} other types`,
    types: rest.flatMap((layer) => layer.types),
    total: rest.reduce((sum, layer) => sum + layer.total, 0),
    counts: Array.from({ length: size }, (_, n) => rest.reduce((sum, layer) => sum + layer.counts[n], 0)),
  };
  return { start, seconds, size, layers: [...all.slice(0, COLOURS - 1), others], total };
}

/** @param {Stacks} stacks @returns {[number[], ...number[][]]} begins of the spans, then the tops of the layers, the highest first: lower ones are painted over higher ones */
export function tops({ start, seconds, size, layers }) {
  const sums = Array(size).fill(0);
  const heights = layers.map((layer) => layer.counts.map((count, n) => (sums[n] += count)));
  return [Array.from({ length: size }, (_, n) => start + n * seconds), ...heights.reverse()];
}
