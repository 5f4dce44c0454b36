// What a view loads from the server and what its buttons do there: waiting and failing are written once, here.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { call } from "./api.js";

/**
 * @template T
 * @typedef {{data: T | null, error: unknown, busy: boolean, reload: () => Promise<void>}} Resource
 * `data` stays while a newer answer is on its way.
 */

/**
 * Load `path`, and again whenever it changes.
 * @template T
 * @param {string} path
 * @param {number} [everyMs] load again so often while the page is looked at; 0 for never
 * @returns {Resource<T>}
 */
export function useLoad(path, everyMs = 0) {
  const [state, setState] = useState({ data: /** @type {T | null} */ (null), error: /** @type {unknown} */ (null), busy: true });
  const newest = useRef(0);

  const reload = useCallback(async () => {
    const mine = ++newest.current;
    setState((s) => ({ ...s, busy: true }));
    /** @type {{data?: T, error: unknown}} */
    let found;
    try {
      found = { data: await call("GET", path), error: null };
    } catch (error) {
      found = { error };
    }
    if (mine === newest.current) setState((s) => ({ ...s, ...found, busy: false }));
  }, [path]);

  useEffect(() => {
    reload();
    const timer = everyMs ? setInterval(() => document.hidden || reload(), everyMs) : 0;
    return () => {
      newest.current += 1; // What is still on its way is of no interest any more.
      clearInterval(timer);
    };
  }, [reload, everyMs]);

  return { ...state, reload };
}

/**
 * A button or a form that does something at the server.
 * @returns {{busy: boolean, error: unknown, run: (act: () => Promise<unknown>) => Promise<boolean>}} `run` tells whether it was done
 */
export function useAction() {
  const [state, setState] = useState({ busy: false, error: /** @type {unknown} */ (null) });

  /** @param {() => Promise<unknown>} act */
  async function run(act) {
    setState({ busy: true, error: null });
    try {
      await act();
    } catch (error) {
      setState({ busy: false, error });
      return false;
    }
    setState({ busy: false, error: null });
    return true;
  }

  return { ...state, run };
}
