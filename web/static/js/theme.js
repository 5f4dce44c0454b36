// Light or dark: as the system says, until the person says otherwise.
import { signal } from "@preact/signals";

const KEY = "agent-stack-theme";
const ORDER = ["system", "light", "dark"];

/** @type {import("@preact/signals").Signal<string>} */
export const theme = signal(localStorage.getItem(KEY) ?? "system");

export function applyTheme() {
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
}

export function nextTheme() {
  theme.value = ORDER[(ORDER.indexOf(theme.value) + 1) % ORDER.length];
  localStorage.setItem(KEY, theme.value);
  applyTheme();
}
