// Checking the whole hash chain at the server, which tells how far it is.
import { useEffect, useRef, useState } from "preact/hooks";

/** @import { Verified } from "./types.js" */
/** @typedef {{busy: boolean, done: number, total: number, result: Verified | null, error: unknown}} Verification */

const BEGIN = /** @type {Verification} */ ({ busy: false, done: 0, total: 0, result: null, error: null });

/** @returns {Verification & {start: () => void, stop: () => void}} */
export function useVerification() {
  const [state, setState] = useState(BEGIN);
  const source = useRef(/** @type {EventSource | null} */ (null));
  useEffect(() => () => source.current?.close(), []);

  function start() {
    const stream = new EventSource("/api/admin/audit/verify");
    source.current?.close();
    source.current = stream;
    setState({ ...BEGIN, busy: true });
    stream.onmessage = (message) => {
      const { kind, payload } = JSON.parse(message.data);
      if (kind === "progress") return setState((s) => ({ ...s, ...payload }));
      stream.close();
      setState({ ...BEGIN, result: payload });
    };
    // The browser would begin anew, from the first event.
    stream.onerror = () => {
      stream.close();
      setState({ ...BEGIN, error: new Error("The check was cut off. Is the server running?") });
    };
  }

  function stop() {
    source.current?.close();
    setState(BEGIN);
  }

  return { ...state, start, stop };
}
