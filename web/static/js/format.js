// Numbers, times and devices as people read them.

const WHOLE = new Intl.NumberFormat("en");
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const UTC_DAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
const UTC_MONTH = new Intl.DateTimeFormat("en-GB", { month: "long", year: "numeric", timeZone: "UTC" });
const UTC_DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", timeZone: "UTC" });
const MOMENT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const STEPS = /** @type {[number, Intl.RelativeTimeFormatUnit][]} */ ([[86400, "day"], [3600, "hour"], [60, "minute"]]);

/** @param {number} n */
export const whole = (n) => WHOLE.format(n);

/** @param {number} n @param {string} one @param {string} [many] */
export const count = (n, one, many = `${one}s`) => `${whole(n)} ${n === 1 ? one : many}`;

/** @param {number} seconds unix time */
export const day = (seconds) => DAY.format(seconds * 1000);

/** @param {number} seconds unix time */
export const moment = (seconds) => MOMENT.format(seconds * 1000);

/** @param {string} iso a day such as 2026-11-25, which is one in UTC */
export const utcDay = (iso) => UTC_DAY.format(new Date(`${iso}T00:00:00Z`));

/** @param {number} seconds unix time */
export const utcDate = (seconds) => UTC_DATE.format(seconds * 1000);

/** @param {number} seconds unix time of its begin */
export const utcMonth = (seconds) => UTC_MONTH.format(seconds * 1000);

/** @param {number} seconds unix time, in the past or to come */
export function ago(seconds) {
  const apart = seconds - Date.now() / 1000;
  const step = STEPS.find(([length]) => Math.abs(apart) >= length);
  return step ? AGO.format(Math.round(apart / step[0]), step[1]) : apart > 0 ? "in a moment" : "just now";
}

/** @param {number} seconds how long something took or takes */
export function duration(seconds) {
  const all = Math.round(seconds);
  if (all < 60) return `${all} s`;
  const minutes = Math.floor(all / 60);
  if (minutes < 60) return `${minutes} min`;
  const rest = minutes % 60;
  return `${whole(Math.floor(minutes / 60))} h${rest ? ` ${rest} min` : ""}`;
}

const BROWSERS = /** @type {[RegExp, string][]} */ ([
  [/\bEdgA?\//, "Edge"],
  [/\bOPR\//, "Opera"],
  [/\bFirefox\/|\bFxiOS\//, "Firefox"],
  [/Chromium\/|Chrome\/|\bCriOS\//, "Chrome"],
  [/\bSafari\//, "Safari"],
]);
const SYSTEMS = /** @type {[RegExp, string][]} */ ([
  [/iPhone/, "iPhone"],
  [/iPad/, "iPad"],
  [/Android/, "Android"],
  [/Windows/, "Windows"],
  [/Mac OS X|Macintosh/, "macOS"],
  [/CrOS/, "ChromeOS"],
  [/Linux|X11/, "Linux"],
]);

/** @param {string} agent what a browser or a program says that it is */
export function device(agent) {
  /** @param {[RegExp, string][]} list */
  const known = (list) => list.find(([pattern]) => pattern.test(agent))?.[1];
  const [browser, system] = [known(BROWSERS), known(SYSTEMS)];
  if (browser) return system ? `${browser} on ${system}` : browser;
  return agent.split(/[\s(]/)[0].slice(0, 40) || "Unknown device";
}

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

const BINARY_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** @param {number} n */
export const bytes = (n) => inUnits(n, 1000, UNITS);

/** @param {number} n as settings count them */
export const binaryBytes = (n) => inUnits(n, 1024, BINARY_UNITS);

/** @param {number} n @param {number} step from each unit to the next @param {string[]} units */
function inUnits(n, step, units) {
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log(Math.max(n, 1)) / Math.log(step) + 1e-9)));
  const value = n / step ** unit;
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
