// The tags that an agent writes itself. Simple ones that are closed where they were opened stay tags, without attributes
// but a link's address; those that only arrange things go; everything else is shown as it was written. So what becomes
// HTML is always well formed.

/** @import { Token } from "marked" */

const SIMPLE = new Set([
  ...["b", "i", "u", "s", "em", "strong", "del", "ins", "sub", "sup", "small", "mark", "kbd", "samp", "var", "q", "cite"],
  ...["details", "summary", "ruby", "rt", "rp", "a", "code", "pre", "p", "blockquote"],
  ...["ul", "ol", "li", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6"],
]);
const ARRANGING = new Set(["div", "span", "center", "font", "section", "article", "figure", "figcaption"]);
const EMPTY = new Set(["br", "wbr", "hr"]);
const MOST_OPEN = 8;
const TAG = /(<!--[^]{0,1000}?-->|<\/?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]*)?>)/;
const NAME = /^<\/?([a-zA-Z][a-zA-Z0-9]*)/;
const ADDRESS = /\s(?:href|src)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))/i;
const CHARACTERS = /** @type {Record<string, string>} */ ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" });

/** @param {string} text */
export function escaped(text) {
  return text.replace(/[&<>"']/g, (character) => CHARACTERS[character]);
}

/** Set `settled` of every token of HTML among siblings: what of it becomes HTML. @param {Token[]} tokens */
export function settleTags(tokens) {
  /** @type {{name: string, tag: string, settled: string[], at: number}[]} */
  const open = [];
  const written = [];
  for (const token of tokens) {
    if (token.type !== "html") continue;
    const pieces = token.text.split(TAG);
    /** @type {string[]} */
    const settled = pieces.map(escaped);
    written.push({ token, settled });
    for (let at = 1; at < pieces.length; at += 2) settleOne(pieces[at], settled, at, open);
  }
  for (const { token, settled } of written) {
    const html = settled.join("");
    /** @type {any} */ (token).settled = token.block && !settled.some((piece) => /^<[a-z/]/.test(piece)) ? asParagraph(html) : html;
  }
}

/** @param {string} tag @param {string[]} settled @param {number} at @param {{name: string, tag: string, settled: string[], at: number}[]} open */
function settleOne(tag, settled, at, open) {
  const name = NAME.exec(tag)?.[1].toLowerCase() ?? "";
  if (!name || ARRANGING.has(name)) settled[at] = ""; // A comment has no name.
  else if (EMPTY.has(name)) settled[at] = `<${name}>`;
  else if (name === "img") settled[at] = link(tag, addressOf(tag));
  else if (!SIMPLE.has(name)) return;
  else if (!tag.startsWith("</")) {
    if (open.length < MOST_OPEN) open.push({ name, tag, settled, at });
  } else if (open.at(-1)?.name === name) {
    const opened = /** @type {NonNullable<ReturnType<typeof open.pop>>} */ (open.pop());
    opened.settled[opened.at] = name === "a" ? `<a href="${escaped(addressOf(opened.tag))}">` : `<${name}>`;
    settled[at] = `</${name}>`;
  }
}

/** A picture from elsewhere is a link to it. @param {string} tag @param {string} address */
function link(tag, address) {
  return address ? `<a href="${escaped(address)}">${escaped(address)}</a>` : escaped(tag);
}

/** @param {string} tag */
function addressOf(tag) {
  const [, double, single, bare] = ADDRESS.exec(tag) ?? [];
  return double ?? single ?? bare ?? "";
}

/** @param {string} html */
function asParagraph(html) {
  return html.trim() && `<p>${html.trim().replaceAll("\n", "<br>")}</p>`;
}
