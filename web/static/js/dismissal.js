// Closing what was opened over the page: by Escape, and by going elsewhere.
import { useEffect, useRef } from "preact/hooks";

/**
 * @param {boolean} open
 * @param {() => void} close
 * @param {{current: HTMLElement | null}} button what opens it, and has the focus again after Escape
 * @returns {{whole: import("preact").RefObject<HTMLDivElement>, onKeyDown: (event: KeyboardEvent) => void}} for the element that holds both
 */
export function useDismissal(open, close, button) {
  const whole = useRef(/** @type {HTMLDivElement | null} */ (null));

  /** @param {KeyboardEvent} event */
  function onKeyDown(event) {
    if (event.key !== "Escape" || !open) return;
    event.preventDefault();
    close();
    button.current?.focus();
  }

  useEffect(() => {
    if (!open) return;
    /** @param {Event} event */
    const elsewhere = (event) => whole.current?.contains(/** @type {Node} */ (event.target)) || close();
    addEventListener("pointerdown", elsewhere);
    addEventListener("focusin", elsewhere);
    return () => {
      removeEventListener("pointerdown", elsewhere);
      removeEventListener("focusin", elsewhere);
    };
  }, [open]);

  return { whole, onKeyDown };
}
