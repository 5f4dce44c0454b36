// What would take the parser too long, found by one look at the text. The parser takes time that grows with the square
// of what is counted here; the bounds are what it does in some tens of milliseconds.

const MOST_DEPTH = 100;
const MOST_CELLS = 20_000;
const GAP = /[^\S\n]{500}/;
const LONG_ADDRESS = /(?:https?:|www\.|@)\S{2000}/i;
const BREAK = /^[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const UNDER_HEADER = /^[\s|:>-]+$/;
const PILE = /(\p{M}{30})(?=\p{M})/gu;
// Of writing whose letters join or stack; Chinese, Japanese and Korean do neither.
const RUN = /([^\s\0-\x7f\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef]{500})/gu;
const DIRECTIONS = /[\u202a-\u202e\u2066-\u2069]/g;
const MOST_DIRECTIONS = 1_000;
const MOST_LEVELS = 10_000;
const MOST_LINES_SQUARED = 4_000_000;
const MOST_MARKS = 30_000_000;

const MARKERS = /^[ \t]*(?:(?:>|[-*+](?=[ \t]|$)|\d{1,9}[.)](?=[ \t]|$))[ \t]*)+/;
const MARKER = />|[-*+]|\d+[.)]/g;
const MARKS = /[*_~![\]`<]/g;

/**
 * Whether a text has lists and quotes within each other without end, one item of thousands of lines, a huge table or a
 * huge gap.
 * @param {string} text
 */
export function isDeep(text) {
  if (GAP.test(text)) return true;
  let levels = 0;
  let cells = 0;
  let columns = 0; // Of the table in which a line may be: each row gets all of them.
  let squares = 0;
  let run = 0; // Lines in a row that belong to one item, or may.
  for (const line of text.split("\n")) {
    const markers = BREAK.test(line) ? "" : (MARKERS.exec(line)?.[0] ?? "");
    if (markers) {
      const depth = (markers.match(MARKER)?.length ?? 0) + (/^[ \t]*/.exec(markers)?.[0].length ?? 0) / 2;
      levels += depth;
      if (depth > MOST_DEPTH) return true;
    }
    if (UNDER_HEADER.test(line) && line.includes("-|")) columns = line.split("|").length;
    else if (!line.trim()) columns = 0;
    cells += columns;
    if (markers) run = 1;
    else if (!line.trim()) run = 0;
    else if (run) squares += 2 * run++ + 1;
    if (levels > MOST_LEVELS || squares > MOST_LINES_SQUARED || cells > MOST_CELLS) return true;
  }
  return false;
}

/**
 * A text that can be drawn: without marks that pile up on one letter, without end of a word whose letters depend on each
 * other, and without thousands of changes of direction. Each of these takes the square of its length.
 * @param {string} text
 */
export function drawable(text) {
  const once = (text.match(DIRECTIONS)?.length ?? 0) > MOST_DIRECTIONS ? text.replace(DIRECTIONS, "") : text;
  return once.replace(PILE, "$1\u25cc").replace(RUN, "$1\u200b");
}

/** Tells of one paragraph after the other whether there are too many marks, each of which may be looked for all along it. */
export function densityMeter() {
  let sum = 0;
  return (/** @type {string} */ text) => {
    if (LONG_ADDRESS.test(text)) return true;
    const cost = (text.match(MARKS)?.length ?? 0) * text.length;
    if (sum + cost > MOST_MARKS) return true;
    sum += cost;
    return false;
  };
}
