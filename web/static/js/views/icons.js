// Small line icons, drawn here.
import { html } from "../html.js";

/** @param {string} path */
const icon = (path, kind = "icon") => html`<svg class=${kind} viewBox="0 0 20 20" aria-hidden="true"><path d=${path} /></svg>`;

export const plus = icon("M10 4v12M4 10h12");
export const send = icon("M4 10h11M10.500 5l5 5-5 5");
export const stop = icon("M6 6h8v8H6z", "icon solid");
export const play = icon("M7 5l8 5-8 5z", "icon solid");
export const menu = icon("M3 6h14M3 10h14M3 14h14");
export const trash = icon("M4 6h12M8 6V4h4v2M6 6l.7 10h6.600L14 6");
export const pencil = icon("M4 16l.8-3.500L13 4.300l2.700 2.700-8.200 8.200z");
export const retry = icon("M15.500 10a5.500 5.500 0 1 1-1.700-4M14 2.500V6h-3.500");
export const leave = icon("M8 4H4v12h4M12 6.500 15.500 10 12 13.500M15 10H8");
export const half = icon("M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14");
