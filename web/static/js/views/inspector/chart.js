// The chart itself: stacked bars, in the colours of the theme.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../../html.js";
import { draw, fit, library } from "../../inspector/plot.js";
import { COLOURS } from "../../inspector/stacks.js";
import { tell } from "../../store.js";
import { theme } from "../../theme.js";

/** @import { Stacks } from "../../inspector/stacks.js" */

/** @param {{stacks: Stacks, label: string} & import("../../inspector/plot.js").Handlers} props */
export function Chart({ stacks, label, onHover, onChoose }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const palette = useRef(/** @type {HTMLElement | null} */ (null));
  const [UPlot, setUPlot] = useState(/** @type {{it: Awaited<ReturnType<typeof library>>} | null} */ (null));
  const dark = useDark();
  const handlers = useRef({ onHover, onChoose });
  handlers.current = { onHover, onChoose };

  useEffect(() => void library().then((it) => setUPlot({ it })).catch(tell), []);

  useEffect(() => {
    const [element, colours] = [box.current, palette.current];
    if (!UPlot || !element || !colours) return;
    const plot = draw(UPlot.it, element, stacks, coloursOf(colours), {
      onHover: (n) => handlers.current.onHover(n),
      onChoose: (since, until) => handlers.current.onChoose(since, until),
    });
    const observer = new ResizeObserver(() => fit(plot, element));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [UPlot, stacks, dark, theme.value]);

  return html`
    <div class="chart" role="img" aria-label=${label} ref=${box}></div>
    <span class="palette" hidden ref=${palette}>
      <i class="chart-text"></i><i class="chart-line"></i>
      ${Array.from({ length: COLOURS }, (_, n) => html`<i key=${n} class="colour-${n}"></i>`)}
    </span>
  `;
}

/** @param {HTMLElement} palette @returns {import("../../inspector/plot.js").Colours} what the style sheet says, as a canvas understands it */
function coloursOf(palette) {
  const [text, line, ...layers] = [...palette.querySelectorAll("i")].map((i) => getComputedStyle(i).color);
  return { text, line, layers };
}

/** @returns {boolean} whether the system is dark; the chart is drawn anew when that changes */
function useDark() {
  const [dark, setDark] = useState(() => matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const onChange = () => setDark(query.matches);
    query.addEventListener("change", onChange);
    return () => query.removeEventListener("change", onChange);
  }, []);
  return dark;
}
