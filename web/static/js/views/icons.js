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
export const gear = icon("M8.5 4.6L8.7 2.5L11.3 2.5L11.5 4.6L12.8 5.1L14.4 3.8L16.2 5.6L14.9 7.2L15.4 8.5L17.5 8.7L17.5 11.3L15.4 11.5L14.9 12.8L16.2 14.4L14.4 16.2L12.8 14.9L11.5 15.4L11.3 17.5L8.7 17.5L8.5 15.4L7.2 14.9L5.6 16.2L3.8 14.4L5.1 12.8L4.6 11.5L2.5 11.3L2.5 8.7L4.6 8.5L5.1 7.2L3.8 5.6L5.6 3.8L7.2 5.1zM10 7.600a2.400 2.400 0 1 0 0 4.800 2.400 2.400 0 0 0 0-4.800z");
export const shield = icon("M10 2.500l6 2.200v4.600c0 4-2.600 6.700-6 8.200-3.400-1.500-6-4.200-6-8.200V4.700zM7.300 9.900l2 2 3.400-3.800");
export const lens = icon("M9 3.500a5.500 5.500 0 1 0 0 11 5.500 5.500 0 0 0 0-11zM13 13l4 4");
export const down = icon("M10 3.500v9M6.300 9l3.700 3.700L13.700 9M4 16.500h12");
export const cross = icon("M5.500 5.500l9 9M14.500 5.500l-9 9");
