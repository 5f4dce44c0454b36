// Markdown to safe HTML. Whatever an agent writes passes the sanitiser before it becomes a part of the page.
import DOMPurify from "dompurify";
import { marked } from "marked";

marked.use({ gfm: true, breaks: true });

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer");
  }
  // A picture from elsewhere would tell its server who reads this, and one from here would make a request as them.
  if (node.tagName === "IMG" && !node.getAttribute("src")?.startsWith("data:image/")) node.removeAttribute("src");
});

/** @param {string} text @returns {string} */
export function toHtml(text) {
  const raw = /** @type {string} */ (marked.parse(text, { async: false }));
  return DOMPurify.sanitize(raw, {
    USE_PROFILES: { html: true },
    FORBID_TAGS: ["style", "form", "input", "button", "textarea", "select", "iframe", "video", "audio"],
    FORBID_ATTR: ["style", "id", "name"],
  });
}

/** @type {Promise<any> | undefined} */
let highlighter;

/** Colour the code in a finished message, and give each block a copy button. @param {HTMLElement} element */
export async function decorate(element) {
  const blocks = /** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll("pre > code"));
  if (!blocks.length) return;
  // @ts-expect-error the import map knows it; it comes without types
  highlighter ??= import("highlight.js").then((module) => module.default);
  const hljs = await highlighter;
  for (const block of blocks) {
    if (block.dataset.highlighted) continue;
    hljs.highlightElement(block);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent ?? "");
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    block.parentElement?.append(button);
  }
}
