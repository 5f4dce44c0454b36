// Looking for words in all of one's messages, while they are typed.
import { useEffect, useRef, useState } from "preact/hooks";
import { call } from "./api.js";

/** @import { Hit } from "./types.js" */
/** @typedef {{text: string, hits: Hit[], error: unknown}} Found what came of a search, and the words it was for */

const PAUSE_MS = 200;
export const MOST = 30;

/**
 * Search for `text` once it has rested. The state belongs to the component: it goes when the person signs out.
 * @param {string} text trimmed; nothing is searched for when it is empty
 * @returns {{found: Found | null, now: () => void}} the newest answer, and a function that does not wait for the rest
 */
export function useSearch(text) {
  const [found, setFound] = useState(/** @type {Found | null} */ (null));
  const asked = useRef("");

  /** @param {string} words */
  async function ask(words) {
    if (asked.current === words) return;
    asked.current = words;
    /** @type {Found} */
    const answer = { text: words, hits: [], error: null };
    try {
      answer.hits = (await call("GET", `/api/search?${new URLSearchParams({ q: words, limit: String(MOST) })}`)).results;
    } catch (error) {
      answer.error = error;
    }
    if (asked.current !== words) return; // More was typed meanwhile.
    if (answer.error) asked.current = ""; // The same words may be tried again.
    setFound(answer);
  }

  useEffect(() => {
    if (!text) {
      asked.current = "";
      setFound(null);
      return;
    }
    const timer = setTimeout(() => ask(text), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);

  return { found, now: () => void ask(text) };
}
