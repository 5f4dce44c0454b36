// Events as they come, over a stream that begins anew by itself when it breaks.
import { useEffect, useRef, useState } from "preact/hooks";

/** @import { LoggedEvent } from "./types.js" */

const RETRY_MS = 2000;
const MOST = 200;

/**
 * @param {object} options
 * @param {string} options.query the filters
 * @param {boolean} options.on whether to follow at all
 * @param {number | undefined} options.head up to where the page knows the log
 * @param {() => unknown} options.reload called when events may have been missed
 */
export function useTail({ query, on, head, reload }) {
  const [fresh, setFresh] = useState({ query, events: /** @type {LoggedEvent[]} */ ([]) });
  const [connected, setConnected] = useState(false);
  const [paused, setPaused] = useState(false);
  const [waiting, setWaiting] = useState(0);
  const now = useRef({ paused, head, reload });
  now.current = { paused, head, reload };

  useEffect(() => {
    setFresh({ query, events: [] });
    setWaiting(0);
    if (!on) return;
    /** @type {EventSource} */
    let source;
    /** @type {ReturnType<typeof setTimeout>} */
    let timer;

    function open() {
      source = new EventSource(`/api/admin/events/live?${query}`);
      source.onopen = () => setConnected(true);
      source.onmessage = (message) => {
        const { kind, payload } = JSON.parse(message.data);
        if (kind === "hello") {
          // What came between the answer with the list and the begin of this stream is in neither.
          if (payload.head !== now.current.head && !now.current.paused) now.current.reload();
        } else if (now.current.paused) setWaiting((n) => n + 1);
        else setFresh((f) => ({ query, events: [payload, ...f.events].slice(0, MOST) }));
      };
      source.onerror = () => {
        setConnected(false);
        // The browser reconnects by itself, from the last event, unless the server refused.
        if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, RETRY_MS);
      };
    }

    open();
    return () => {
      clearTimeout(timer);
      source.close();
      setConnected(false);
    };
  }, [query, on]);

  function resume() {
    setPaused(false);
    setWaiting(0);
    reload();
  }

  return { fresh: fresh.query === query ? fresh.events : [], connected, paused, waiting, pause: () => setPaused(true), resume };
}

/** @param {LoggedEvent[]} fresh @param {LoggedEvent[]} loaded @returns {LoggedEvent[]} both, each event once, newest first */
export function merged(fresh, loaded) {
  const all = new Map([...loaded, ...fresh].map((event) => [event.position, event]));
  return [...all.values()].sort((a, b) => b.position - a.position).slice(0, Math.max(MOST, loaded.length));
}
