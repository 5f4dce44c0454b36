// Markdown to safe HTML. Whatever an agent writes passes the sanitiser, which lets through what is listed here and
// nothing else, before it becomes a part of the page. What would take too long to format stays plain text.
import DOMPurify from "dompurify";
import { Lexer, Marked } from "marked";
import { copyText } from "./clipboard.js";
import { densityMeter, isDeep } from "./density.js";
import { isPicture } from "./pictures.js";
import { escaped, settleTags } from "./tags.js";

/** @import { Token, Tokens } from "marked" */

const MOST_CHARACTERS = 100_000;
const MOST_TOKENS = 25_000;
const LINKS = /^(?:https?:\/\/|mailto:)/i;

/** @typedef {Record<string, Record<string, RegExp>>} Rules what may be there: attributes by tag, and their values */

/** @typedef {{toString(): string}} SafeHtml what the browser takes as HTML */

/** @type {Rules} */
const OF_ANSWERS = {
  ...Object.fromEntries(
    [
      ...["p", "br", "wbr", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "ul", "li", "dl", "dt", "dd"],
      ...["em", "strong", "del", "ins", "b", "i", "u", "s", "sub", "sup", "small", "mark", "kbd", "samp", "var", "q"],
      ...["cite", "details", "summary", "table", "thead", "tbody", "tr", "ruby", "rt", "rp"],
    ].map((name) => [name, {}]),
  ),
  a: { href: LINKS, title: /^/ },
  img: { src: /^data:image\/(?:png|jpeg|gif|webp);base64,/, alt: /^/, title: /^/, decoding: /^async$/ },
  code: { class: /^language-[\w+#.-]{1,40}$/ },
  ol: { start: /^\d{1,9}$/ },
  th: { align: /^(?:left|center|right)$/ },
  td: { align: /^(?:left|center|right)$/ },
};
/** @type {Rules} */
const OF_COLOURS = { span: { class: /^(?:hljs-[\w-]+|language-[\w-]+|[\w-]+_)(?: (?:[\w-]+_|hljs-[\w-]+))*$/ } };

/** @type {Rules} */
let rules = OF_ANSWERS;

DOMPurify.addHook("uponSanitizeAttribute", (node, attribute) => {
  if (!rules[node.nodeName.toLowerCase()]?.[attribute.attrName]?.test(attribute.attrValue)) attribute.keepAttr = false;
});
DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName !== "A" || !node.hasAttribute("href")) return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer nofollow");
});

/** @param {string} text @param {Rules} wanted @returns {SafeHtml} */
function sanitised(text, wanted) {
  rules = wanted;
  return DOMPurify.sanitize(text, {
    ALLOWED_TAGS: Object.keys(wanted),
    ALLOWED_ATTR: [...new Set(Object.values(wanted).flatMap(Object.keys))],
    ALLOWED_URI_REGEXP: LINKS,
    ADD_URI_SAFE_ATTR: ["align", "decoding", "start"],
    ALLOW_ARIA_ATTR: false,
    ALLOW_DATA_ATTR: false,
    RETURN_TRUSTED_TYPE: true,
  });
}

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: (token) => /** @type {any} */ (token).settled ?? escaped(token.text),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    // A picture from elsewhere would tell its server who reads this, and one from here would make a request as them.
    image({ href, title, text, ...token }) {
      if (/** @type {any} */ (token).isLinked) return escaped(text || href);
      if (!isPicture(href)) return `<a href="${escaped(href)}">${escaped(text || href)}</a>`;
      return `<img decoding="async" src="${escaped(href)}" alt="${escaped(text)}"${title ? ` title="${escaped(title)}"` : ""}>`;
    },
  },
});

/** @param {string} text @returns {SafeHtml | null} null for what has to stay plain text */
export function toHtml(text) {
  if (text.length > MOST_CHARACTERS || isDeep(text)) return null;
  try {
    const tokens = lexed(text);
    return settle(tokens) > MOST_TOKENS ? null : sanitised(marked.parser(tokens), OF_ANSWERS);
  } catch {
    return null; // Deeper than the browser can follow.
  }
}

/** Take a text apart; paragraphs that would take too long stay as they are. @param {string} text @returns {Token[]} */
function lexed(text) {
  const lexer = new Lexer(marked.defaults);
  lexer.blockTokens(text.replace(/\r\n?/g, "\n"), lexer.tokens);
  const isDense = densityMeter();
  for (const { src, tokens } of lexer.inlineQueue) {
    if (isDense(src)) tokens.push({ type: "text", raw: src, text: src, escaped: false });
    else lexer.inlineTokens(src, tokens);
  }
  return lexer.tokens;
}

/** Decide which tags stay, all the way down. @param {Token[]} tokens @returns {number} how many tokens there are */
function settle(tokens) {
  settleTags(tokens);
  let count = tokens.length;
  for (const token of tokens) {
    if (token.type === "link") token.tokens?.forEach(settleInLink);
    for (const inner of within(token)) count += settle(inner);
  }
  return count;
}

/** A link cannot hold the other one that stands for a picture. @param {any} token */
function settleInLink(token) {
  token.isLinked = !isPicture(token.href ?? "");
}

/** @param {Token} token @returns {Token[][]} */
function within(token) {
  const { items, header, rows } = /** @type {any} */ (token);
  const cells = [...(header ?? []), ...(rows ?? []).flat()];
  return [/** @type {any} */ (token).tokens, ...cells.map((cell) => cell.tokens), items].filter(Boolean);
}

// Colouring takes the square of the length of a line or a word in many languages, and of the whole in some. So it is
// done in parts, which end with a line.
const MOST_CODE = 20_000;
const PART = /[^]{1,2000}(?:\n|$)/g;
const LONG_LINE = /[^\n]{300}|\S{100}/;
const MOST_COLOURING_MS = 100;

/** @type {Promise<any> | undefined} */
let highlighter;

/** Colour the code in a finished message, and give each block a copy button. @param {HTMLElement} element */
export async function decorate(element) {
  const blocks = /** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll("pre > code"));
  if (!blocks.length) return;
  // @ts-expect-error the import map knows it; it comes without types
  highlighter ??= import("highlight.js").then((module) => module.default);
  const hljs = await highlighter;
  let spent = 0;
  for (const block of blocks) {
    if (block.parentElement?.querySelector("button.copy")) continue;
    const code = block.textContent ?? "";
    const language = block.className.replace("language-", "");
    if (code.length <= MOST_CODE && !LONG_LINE.test(code) && hljs.getLanguage(language)) {
      const coloured = [];
      for (const part of code.match(PART) ?? []) {
        await new Promise((resume) => setTimeout(resume)); // Others first.
        const began = performance.now();
        const isLate = spent > MOST_COLOURING_MS;
        coloured.push(isLate ? escaped(part) : hljs.highlight(part, { language, ignoreIllegals: true }).value);
        spent += performance.now() - began;
      }
      block.innerHTML = /** @type {any} */ (sanitised(coloured.join(""), OF_COLOURS));
      block.classList.add("hljs");
    }
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      if (!(await copyText(code))) return;
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    block.parentElement?.append(button);
  }
}
