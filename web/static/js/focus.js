// Putting the focus where the person goes on.
import { useLayoutEffect, useRef } from "preact/hooks";

/**
 * Give the element with the returned ref the focus as soon as it is there.
 * @template {HTMLElement} E
 * @returns {import("preact").RefObject<E>}
 */
export function useFocus() {
  const element = useRef(/** @type {E | null} */ (null));
  useLayoutEffect(() => element.current?.focus(), []);
  return element;
}
