/** The client of the admin API: requests, the token, and the event stream. */

const tokenKey = "cistern-admin-token";
const requestTimeout = 10_000;
const silenceTimeout = 6_000;
const firstDelay = 500;
const longestDelay = 5_000;

export const token = {
  get: () => sessionStorage.getItem(tokenKey),
  set: (value) => sessionStorage.setItem(tokenKey, value),
  forget: () => sessionStorage.removeItem(tokenKey),
};

/** An error response to a request; status 0 if there was no response. */
export class Problem extends Error {
  constructor(status, detail, retryAfter = 0) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

function headers(more = {}) {
  const secret = token.get();
  return secret ? { ...more, Authorization: `Bearer ${secret}` } : more;
}

async function send(path, options) {
  const hadToken = token.get() !== null;
  const response = await fetch(path, { cache: "no-store", ...options }).catch((error) => {
    if (options.signal?.aborted && options.signal.reason?.name !== "TimeoutError") throw error;
    throw new Problem(0, "the server does not respond");
  });
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status === 401) {
    window.dispatchEvent(new CustomEvent("unauthorized", { detail: { hadToken } }));
  }
  throw problem;
}

async function problemOf(response) {
  const body = await response.json().catch(() => null);
  const detail = body?.detail ?? body?.title ?? `the server responded with ${response.status}`;
  return new Problem(response.status, String(detail), Number(response.headers.get("Retry-After")) || 0);
}

/** Sends one request; returns the decoded body, or null for 204. */
export async function request(method, path, { body, signal } = {}) {
  const timeout = AbortSignal.timeout(requestTimeout);
  const response = await send(path, {
    method,
    headers: headers(body ? { "Content-Type": "application/json" } : {}),
    body: body && JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  });
  return response.status === 204 ? null : response.json();
}

export const organizationPath = (name, part = "") => `v1/organizations/${encodeURIComponent(name)}${part}`;

/** Parses an event stream in chunks; calls `emit` with each event's name and data. */
export function eventParser(emit) {
  let rest = "";
  let name = "";
  let data = [];
  function take(line) {
    if (line === "") {
      if (data.length > 0) emit(name || "message", data.join("\n"));
      name = "";
      data = [];
      return;
    }
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  return (text) => {
    // A carriage return at the end of a chunk may be the first half of CRLF.
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    lines.forEach(take);
  };
}

/** Reads `v1/events` and reconnects until the page is closed. */
export class EventStream {
  #delay = firstDelay;
  #wake = () => {};
  #abort = new AbortController();

  /** Calls `onEvent(name, value)` for each event, and `onLost(problem)` each time the stream ends. */
  constructor({ onEvent, onLost }) {
    this.onEvent = onEvent;
    this.onLost = onLost;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#wake();
    });
  }

  async run() {
    for (;;) {
      const problem = await this.#read().catch((error) => error);
      this.onLost(problem);
      await this.#pause(problem);
    }
  }

  /** Reconnects now, for example after a token was entered. */
  retry() {
    this.#wake("asked");
  }

  /** Ends the open stream, for example if its token is no longer valid; the stream then reconnects. */
  drop() {
    this.#abort.abort();
  }

  async #pause(problem) {
    const jitter = 1 + Math.random() * 0.3;
    const milliseconds = Math.max(this.#delay * jitter, (problem.retryAfter ?? 0) * 1000);
    this.#delay = Math.min(this.#delay * 2, longestDelay);
    const needsToken = problem.status === 401;
    await new Promise((resolve) => {
      this.#wake = (why) => {
        if (!needsToken || why === "asked") resolve();
      };
      if (!needsToken) setTimeout(resolve, milliseconds);
    });
    this.#wake = () => {};
  }

  async #read() {
    const abort = this.#abort = new AbortController();
    let watchdog;
    const heard = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => abort.abort(new DOMException("silent", "TimeoutError")), silenceTimeout);
    };
    heard();
    try {
      const accept = headers({ Accept: "text/event-stream" });
      const response = await send("v1/events", { headers: accept, signal: abort.signal });
      await this.#consume(response, heard);
      return new Problem(0, "the server ended the stream");
    } finally {
      clearTimeout(watchdog);
    }
  }

  async #consume(response, heard) {
    const parse = eventParser((name, data) => this.#emit(name, data));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      parse(value);
    }
  }

  /** Delivers an event; an error of its handler must not end the stream. */
  #emit(name, data) {
    this.#delay = firstDelay;
    try {
      this.onEvent(name, JSON.parse(data));
    } catch (error) {
      console.error(`event ${name}:`, error);
    }
  }
}
