// Two states of a stream beside each other, value by value.

/** @typedef {{path: string, kind: "same" | "added" | "removed" | "changed", before: unknown, after: unknown}} Line */

/**
 * @param {unknown} value
 * @param {string} [path]
 * @param {Map<string, unknown>} [into]
 * @returns {Map<string, unknown>} its parts that have no parts themselves, by their path
 */
function flat(value, path = "", into = new Map()) {
  const parts = value !== null && typeof value === "object" ? Object.entries(value) : [];
  if (!parts.length) into.set(path, value);
  for (const [name, part] of parts) flat(part, path ? `${path}.${name}` : name, into);
  return into;
}

/**
 * @param {Record<string, unknown> | null} before null where there was nothing yet
 * @param {Record<string, unknown>} after
 * @returns {Line[]} in the order of the newer state; what was removed comes behind what stood before it
 */
export function compare(before, after) {
  const [old, now] = [flat(before ?? {}), flat(after)];
  if (!Object.keys(before ?? {}).length) old.delete("");
  if (!Object.keys(after).length) now.delete("");
  return ordered([...old.keys()], [...now.keys()]).map((path) => {
    const [b, a] = [old.get(path), now.get(path)];
    const kind = !old.has(path) ? "added" : !now.has(path) ? "removed" : JSON.stringify(a) === JSON.stringify(b) ? "same" : "changed";
    return { path, kind, before: b, after: a };
  });
}

/** @param {string[]} old @param {string[]} now @returns {string[]} */
function ordered(old, now) {
  const kept = new Set(now);
  /** @type {Map<string, string[]>} what was removed, by what stood before it */
  const gone = new Map();
  let last = "";
  for (const path of old) {
    if (kept.has(path)) last = path;
    else if (!gone.get(last)?.push(path)) gone.set(last, [path]);
  }
  return [...(gone.get("") ?? []), ...now.flatMap((path) => [path, ...(gone.get(path) ?? [])])];
}
