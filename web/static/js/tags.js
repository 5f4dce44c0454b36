// The tags that an agent writes itself. Simple ones that are closed where they were opened stay tags; everything else is
// shown as it was written, so that what becomes HTML is always well formed.

/** @import { Token } from "marked" */

const SIMPLE = new Set([
  ...["b", "i", "u", "s", "em", "strong", "del", "ins", "sub", "sup", "small", "mark", "kbd", "samp", "var", "q"],
  ...["details", "summary", "ruby", "rt", "rp"],
]);
const EMPTY = new Set(["br", "wbr", "hr"]);
const MOST_OPEN = 8;
const TAG = /(<\/?[a-zA-Z][a-zA-Z0-9]*\s*\/?>)/;
const CHARACTERS = /** @type {Record<string, string>} */ ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" });

/** @param {string} text */
export function escaped(text) {
  return text.replace(/[&<>"']/g, (character) => CHARACTERS[character]);
}

/** Set `settled` of every token of HTML among siblings: what of it becomes HTML. @param {Token[]} tokens */
export function settleTags(tokens) {
  /** @type {{name: string, pieces: string[], at: number}[]} */
  const open = [];
  const written = [];
  for (const token of tokens) {
    if (token.type !== "html") continue;
    const pieces = token.text.split(TAG);
    /** @type {string[]} */
    const settled = pieces.map(escaped);
    written.push({ token, settled });
    for (let at = 1; at < pieces.length; at += 2) {
      const name = pieces[at].replace(/[</>\s]/g, "").toLowerCase();
      if (EMPTY.has(name)) settled[at] = `<${name}>`;
      else if (!SIMPLE.has(name)) continue;
      else if (!pieces[at].startsWith("</")) {
        if (open.length < MOST_OPEN) open.push({ name, pieces: settled, at });
      } else if (open.at(-1)?.name === name) {
        const opened = /** @type {NonNullable<ReturnType<typeof open.pop>>} */ (open.pop());
        opened.pieces[opened.at] = `<${name}>`;
        settled[at] = `</${name}>`;
      }
    }
  }
  for (const { token, settled } of written) {
    const html = settled.join("");
    /** @type {any} */ (token).settled = token.block && !settled.some((piece) => /^<[a-z/]/.test(piece)) ? asParagraph(html) : html;
  }
}

/** @param {string} html */
function asParagraph(html) {
  return `<p>${html.trim().replaceAll("\n", "<br>")}</p>`;
}
