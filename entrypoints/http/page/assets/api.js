/** The HTTP API of one user: requests, errors, the event stream, and ids. */

const REQUEST_MS = 20_000;
const SILENCE_MS = 40_000; // the service sends a ping every 15 seconds

/** A request that failed. Status 0: the outcome is unknown, because no response arrived. */
export class Problem extends Error {
  constructor(status, problem = {}, retryAfter = 0) {
    super(problem.errors?.[0]?.detail ?? problem.detail ?? "The service did not respond as expected.");
    this.status = status;
    this.retryAfter = retryAfter;
  }

  get isTemporary() {
    return [0, 408, 410, 429].includes(this.status) || this.status >= 500;
  }
}

export class Api {
  #token;
  #tasks;

  /** Take the user from the claim of the token; throws if that is not a token. */
  constructor(token, claim) {
    const payload = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    this.user = JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (each) => each.charCodeAt(0))))[claim];
    this.#token = token;
    this.#tasks = `/api/${encodeURIComponent(this.user)}/tasks`;
  }

  /** Return the decoded body of a successful response, null if it has none. Throws Problem. */
  async call(method, path, { body, headers } = {}) {
    const signal = AbortSignal.timeout(REQUEST_MS);
    try {
      const response = await this.#fetch(path, { method, body: body && JSON.stringify(body), headers, signal });
      return response.status === 204 ? null : await response.json();
    } catch (error) {
      throw error instanceof Problem ? error : new Problem(0);
    }
  }

  /** Yield the events after a token, until the stream ends, `signal` aborts it, or nothing arrives. Throws Problem. */
  async *events(token, signal) {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": token };
      const response = await this.#fetch("/events", { headers, signal: AbortSignal.any([signal, silence.signal]) });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = "", read; !(read = await reader.read()).done; ) {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        const blocks = (text + read.value).split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          yield Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
        }
      }
    } catch (error) {
      throw error instanceof Problem ? error : new Problem(0);
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  async #fetch(path, { headers, body, ...options }) {
    const type = body && { "Content-Type": "application/json" };
    const all = { Authorization: `Bearer ${this.#token}`, ...type, ...headers };
    const response = await fetch(this.#tasks + path, { ...options, body, headers: all, cache: "no-store" });
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    throw new Problem(response.status, problem, Number(response.headers.get("Retry-After")) || 0);
  }
}

/** Return a new UUID, version 7: 48 bits of time, so that ids sort by it, and 74 random bits. */
export function uuid7() {
  const hex = (number, digits) => number.toString(16).padStart(digits, "0");
  // Not randomUUID(), which exists over TLS and on localhost only.
  const [a, b, c, d, e] = crypto.getRandomValues(new Uint16Array(5));
  const time = hex(Date.now(), 12);
  const variant = hex(0x8000 | (b & 0x3fff), 4);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(a & 0xfff, 3)}-${variant}-${hex(c, 4)}${hex(d, 4)}${hex(e, 4)}`;
}
