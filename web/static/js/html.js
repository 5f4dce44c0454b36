// Preact with tagged templates instead of JSX: what is served is what was written.
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
