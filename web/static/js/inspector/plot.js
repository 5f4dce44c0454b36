// The chart library, fetched when there is something to draw, and how this page draws with it.
import { mark } from "./spans.js";
import { tops } from "./stacks.js";

/** @import uPlot from "uplot" */
/** @import { Stacks } from "./stacks.js" */
/** @typedef {{text: string, line: string, layers: string[]}} Colours */
/** @typedef {{onHover: (n: number | null) => void, onChoose: (since: number, until: number) => void}} Handlers */

const CLICK_PX = 4;
const HEIGHT = 180;
const INTEGERS = [1, 2, 5].flatMap((n) => [n, n * 10, n * 100, n * 1000, n * 10_000, n * 100_000]).sort((a, b) => a - b);

/** @type {Promise<typeof uPlot> | null} */
let fetched = null;

/** @returns {Promise<typeof uPlot>} */
export function library() {
  fetched ??= Promise.all([import("uplot"), stylesheet("/static/vendor/uplot.css")]).then(([module]) => module.default);
  fetched.catch(() => (fetched = null));
  return fetched;
}

/** @param {string} href */
function stylesheet(href) {
  return new Promise((resolve, reject) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload: resolve });
    link.onerror = () => reject(new Error("The chart's style sheet cannot be loaded."));
    document.head.append(link);
  });
}

/**
 * @param {typeof uPlot} UPlot
 * @param {HTMLElement} box
 * @param {Stacks} stacks
 * @param {Colours} colours
 * @param {Handlers} handlers
 */
export function draw(UPlot, box, stacks, colours, { onHover, onChoose }) {
  const data = tops(stacks);
  const { size } = stacks;
  const end = stacks.start + size * stacks.seconds;
  const axis = { stroke: colours.text, font: "12px system-ui", grid: { stroke: colours.line, width: 1 }, ticks: { show: false } };
  const bars = UPlot.paths.bars?.({ size: [0.86, 60], align: 1 });
  /** @param {uPlot} u @param {number} left */
  const at = (u, left) => Math.min(size - 1, Math.max(0, Math.floor((u.posToVal(left, "x") - stacks.start) / stacks.seconds)));

  const plot = new UPlot(
    {
      width: box.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 4, 0, 0],
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: CLICK_PX } },
      scales: { x: { time: true, range: () => [stacks.start, end] }, y: { range: (_, __, max) => [0, Math.max(1, max * 1.05)] } },
      axes: [
        { ...axis, grid: { show: false }, size: 28, values: (_, marks, __, ___, apart) => marks.map((m) => mark(m, apart)) },
        { ...axis, size: 44, incrs: INTEGERS },
      ],
      series: [{}, ...data.slice(1).map((_, n) => ({ fill: colours.layers[data.length - 2 - n], width: 0, paths: bars, points: { show: false } }))],
      hooks: {
        setCursor: [(u) => onHover(u.cursor.left === undefined || u.cursor.left < 0 ? null : at(u, u.cursor.left))],
        setSelect: [
          (u) => {
            if (u.select.width < CLICK_PX) return;
            const [from, to] = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
            onChoose(Math.floor(from), Math.max(Math.floor(from) + 1, Math.ceil(to)));
          },
        ],
      },
    },
    /** @type {any} */ (data),
    box,
  );
  /** @type {number} */
  let pressed = 0;
  plot.over.addEventListener("mousedown", (event) => (pressed = event.clientX));
  plot.over.addEventListener("click", (event) => {
    if (Math.abs(event.clientX - pressed) >= CLICK_PX || stacks.seconds <= 1) return;
    const begin = stacks.start + at(plot, event.offsetX) * stacks.seconds;
    onChoose(begin, begin + stacks.seconds);
  });
  return plot;
}

/** @param {uPlot} plot @param {HTMLElement} box */
export const fit = (plot, box) => plot.setSize({ width: box.clientWidth, height: HEIGHT });
