// A part of the page whose files are fetched when somebody first opens it.
import { useEffect, useState } from "preact/hooks";
import { html } from "../html.js";
import { tell } from "../store.js";

/**
 * @template {object} P
 * @param {() => Promise<import("preact").FunctionComponent<P>>} fetchIt
 * @param {unknown} [waiting] what is shown until they are here
 * @returns {(props: P) => unknown}
 */
export function lazy(fetchIt, waiting = html`<main><p class="loading" role="status">Loading…</p></main>`) {
  /** @type {import("preact").FunctionComponent<P> | null} */
  let view = null;
  return function Lazy(props) {
    const [, setHere] = useState(view !== null);
    useEffect(() => {
      if (!view) fetchIt().then((found) => { view = found; setHere(true); }).catch(tell);
    }, []);
    return view ? html`<${view} ...${props} />` : waiting;
  };
}
