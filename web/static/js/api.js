// Calls to the server. Every failure becomes an ApiError whose message a person can act on.

export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status 0 when the server could not be reached
   * @param {string} [code]
   */
  constructor(message, status, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** @type {() => void} */
let onSignedOut = () => {};

/** @param {() => void} callback called when a call finds that nobody is signed in */
export function whenSignedOut(callback) {
  onSignedOut = callback;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @returns {Promise<any>} the parsed answer, null when it is empty
 */
export async function call(method, path, body) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body ? { "content-type": "application/json" } : {},
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw new ApiError("The server cannot be reached. Is it running?", 0);
  }
  const text = await response.text();
  const answer = text ? parse(text) : null;
  if (response.ok) return answer;
  if (response.status === 401 && !path.startsWith("/auth/")) onSignedOut();
  throw new ApiError(answer?.detail ?? `The server answered with status ${response.status}.`, response.status, answer?.code);
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
