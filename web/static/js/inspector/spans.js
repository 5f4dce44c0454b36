// Spans of time, as people choose and read them.

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MOMENT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const EXACT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, timeZoneName: "short" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export const PRESETS = [
  { label: "1 hour", seconds: 3600 },
  { label: "24 hours", seconds: 86_400 },
  { label: "7 days", seconds: 604_800 },
  { label: "30 days", seconds: 2_592_000 },
];

/** @param {number} seconds unix time @returns {string} without the day when that is today */
export function clock(seconds) {
  const at = new Date(seconds * 1000);
  return (at.toDateString() === new Date().toDateString() ? TIME : MOMENT).format(at);
}

/** @param {number} us unix time in microseconds */
export const exact = (us) => EXACT.format(us / 1000);

/** @param {number} since @param {number} until unix times */
export function span(since, until) {
  const [from, to] = [new Date(since * 1000), new Date(until * 1000)];
  if (from.toDateString() === to.toDateString()) return `${clock(since)} to ${TIME.format(to)}`;
  return `${MOMENT.format(from)} to ${MOMENT.format(to)}`;
}

/** @param {number} seconds unix time @param {number} apart how far apart the marks of an axis are @returns {string} */
export function mark(seconds, apart) {
  const at = new Date(seconds * 1000);
  if (apart >= 86_400 || (at.getHours() === 0 && at.getMinutes() === 0 && at.getSeconds() === 0)) return DAY.format(at);
  return (apart < 60 ? TIME : MINUTE).format(at);
}

/** @param {string} seconds unix time or "" @returns {string} as a field for local times has it */
export function toField(seconds) {
  if (!seconds) return "";
  const at = new Date(Number(seconds) * 1000);
  if (Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** @param {string} text of such a field @returns {string} unix time or "" */
export function fromField(text) {
  const at = new Date(text).getTime();
  return Number.isNaN(at) ? "" : String(Math.floor(at / 1000));
}

/** @param {number} seconds @returns {string} the length of a span */
export function length(seconds) {
  for (const [size, unit] of /** @type {[number, string][]} */ ([[86_400, "day"], [3600, "hour"], [60, "minute"]])) {
    if (seconds >= size) return plural(Math.round((seconds / size) * 10) / 10, unit);
  }
  return plural(seconds, "second");
}

/** @param {number} n @param {string} unit */
const plural = (n, unit) => `${n} ${unit}${n === 1 ? "" : "s"}`;
