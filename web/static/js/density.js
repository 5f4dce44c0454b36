// What would take the parser too long, found by one look at the text. The parser takes time that grows with the square
// of what is counted here; the bounds are what it does in some tens of milliseconds.

const MOST_DEPTH = 100;
const MOST_LEVELS = 10_000;
const MOST_LINES_SQUARED = 4_000_000;
const MOST_MARKS = 30_000_000;

const MARKERS = /^[ \t]*(?:(?:>|[-*+](?=[ \t]|$)|\d{1,9}[.)](?=[ \t]|$))[ \t]*)+/;
const MARKER = />|[-*+]|\d+[.)]/g;
const MARKS = /[*_~![\]`<]/g;

/**
 * Whether a text has lists and quotes within each other without end, or one item of thousands of lines.
 * @param {string} text
 */
export function isDeep(text) {
  let levels = 0;
  let squares = 0;
  let run = 0; // Lines in a row since a list began.
  for (const line of text.split("\n")) {
    const markers = MARKERS.exec(line)?.[0] ?? "";
    if (markers) {
      const depth = (markers.match(MARKER)?.length ?? 0) + (/^[ \t]*/.exec(markers)?.[0].length ?? 0) / 2;
      levels += depth;
      if (depth > MOST_DEPTH) return true;
    }
    if (!line.trim()) run = 0;
    else if (markers || run) squares += 2 * ++run - 1;
    if (levels > MOST_LEVELS || squares > MOST_LINES_SQUARED) return true;
  }
  return false;
}

/** Tells of one paragraph after the other whether there are too many marks, each of which may be looked for all along it. */
export function densityMeter() {
  let sum = 0;
  return (/** @type {string} */ text) => {
    const cost = (text.match(MARKS)?.length ?? 0) * text.length;
    if (sum + cost > MOST_MARKS) return true;
    sum += cost;
    return false;
  };
}
