// The server's HTTP interface. Every failure is an ApiError; code "unreachable" where no answer came.

const PATIENCE = 15_000;

let me = null;

/** From now on all requests say whom this page is for: who signs in in another tab is refused what this one sends. */
export function speakFor(annotator) {
  me = annotator;
}

/** What went wrong, in words for people. */
export class ApiError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.index = error.index ?? null;
    this.retryAfter = error.retry_after ?? null;
    this.current = error.current;
  }
}

async function request(path, options = {}) {
  const headers = { ...(me && { "X-Weakseg-Annotator": me }), ...options.headers };
  let response;
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(PATIENCE), credentials: "same-origin", ...options, headers });
  } catch {
    throw new ApiError(0, { code: "unreachable", message: "The server cannot be reached." });
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new ApiError(response.status, body.error ?? { code: "failed", message: `The server answered ${response.status}.` });
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    throw new ApiError(0, { code: "unreachable", message: "The server's answer was cut off." });
  }
}

/** GET something as JSON. */
export async function get(path) {
  return json(await request(path));
}

const JSON_HEADERS = { "Content-Type": "application/json" };

/** POST JSON and get JSON. */
export async function post(path, body, options = {}) {
  return json(await request(path, { method: "POST", headers: JSON_HEADERS, body: JSON.stringify(body), ...options }));
}

/** DELETE something. */
export async function remove(path) {
  return json(await request(path, { method: "DELETE", headers: JSON_HEADERS }));
}

/** GET an image's bytes. */
export async function blob(path) {
  const response = await request(path, { signal: AbortSignal.timeout(4 * PATIENCE) });
  try {
    return await response.blob();
  } catch {
    throw new ApiError(0, { code: "unreachable", message: "The image was cut off." });
  }
}
