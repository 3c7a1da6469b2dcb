/** Speaks to the server this page came from, and to nobody else. */

import type { Asked, ErrorBody, Problem } from "./types";
import { words } from "./words";

/** What the server (or the network) said no with. `hint` says what to try. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string = "",
    readonly param: string | null = null,
    readonly retryAfterS: number | null = null,
    /** What the policy was asked when it refused: with this it explains itself. */
    readonly asked: Asked | null = null,
    /** What is wrong with a file that was sent, line by line. */
    readonly problems: readonly Problem[] = [],
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** True for what may go well when it is simply tried again. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** Builds the error of a body in the API's shape, or in OpenAI's (which has no hint); tolerant of anything else. */
export function errorOf(status: number, body: unknown, retryAfter: string | null = null): ApiError {
  const given = (body as { error?: ErrorBody } | null)?.error;
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
  const after = Number.isFinite(seconds) ? seconds : null;
  if (!given || typeof given !== "object")
    return new ApiError(
      status,
      `http_${status}`,
      words.errors.unexpected(status),
      words.errors.unexpectedHint,
      null,
      after,
    );
  return new ApiError(
    status,
    String(given.code ?? `http_${status}`),
    String(given.message || words.errors.unexpected(status)),
    String(given.hint ?? (after === null ? "" : words.errors.retryAfter(after))),
    given.param ?? null,
    after,
    given.asked ?? null,
    given.problems ?? [],
  );
}

/** Any thrown thing as an ApiError; a fetch that never reached the server says so. */
/** What browsers call a connection that failed, or broke off: no more than a message tells it from other TypeErrors. */
const BROKEN_OFF = /fetch|network|load failed|terminated/i;

export function asApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof TypeError && !BROKEN_OFF.test(thrown.message))
    return new ApiError(0, "page", words.errors.page, words.errors.pageHint(thrown.message));
  return unreached();
}

const unreached = (): ApiError => new ApiError(0, "network", words.errors.network, words.errors.networkHint);

export const isAbort = (thrown: unknown): boolean => thrown instanceof DOMException && thrown.name === "AbortError";

export type Query = Record<string, string | number | boolean | readonly string[] | null | undefined>;
type Headers = Record<string, string>;

/** Here a 401 is about the password that was typed, not about the session. */
const ASKS_FOR_PASSWORD = new Set([
  "/login",
  "/login/passkey",
  "/login/second",
  "/me/codes/confirm",
  "/me/passkeys",
  "/me/password",
  "/setup",
]);

const SAFE = new Set(["GET", "HEAD"]);

export class Api {
  csrf = "";
  /** Called when the server no longer knows this session. */
  onSignedOut: () => void = () => {};

  constructor(
    private readonly base = "./intramural/v1",
    private readonly send: typeof fetch = (...args) => fetch(...args),
  ) {}

  get = <T>(path: string, query?: Query, signal?: AbortSignal, more?: Headers) =>
    this.#json<T>("GET", path + queryText(query), undefined, signal, more);
  post = <T>(path: string, body?: unknown, more?: Headers) => this.#json<T>("POST", path, body ?? {}, undefined, more);
  put = <T>(path: string, body: unknown) => this.#json<T>("PUT", path, body);
  patch = <T>(path: string, body: unknown) => this.#json<T>("PATCH", path, body);
  remove = (path: string) => this.#json<void>("DELETE", path);
  /** Removes, and hands back what proves it; null where nothing does. */
  erase = async (path: string) => (await this.#json<unknown>("DELETE", path)) ?? null;

  /** Posts and hands back the open response, for streams. Raises ApiError unless the answer is a 2xx with a body. */
  async stream(path: string, body: unknown, signal?: AbortSignal, more?: Headers): Promise<ReadableStream<Uint8Array>> {
    return this.#open("POST", path, body, signal, more);
  }

  /** Posts a file as it is, and hands back the open response as `stream` does. */
  async upload(path: string, file: Blob, query: Query, signal?: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    return this.#open("POST", path + queryText(query), file, signal);
  }

  /** The same for a stream that is only listened to. */
  async listen(path: string, signal?: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    return this.#open("GET", path, undefined, signal);
  }

  async #open(
    method: string,
    path: string,
    body: unknown,
    signal?: AbortSignal,
    more?: Headers,
  ): Promise<ReadableStream<Uint8Array>> {
    const response = await this.#fetch(method, path, body, signal, more);
    if (response.body === null) throw errorOf(response.status, null);
    return response.body;
  }

  async #json<T>(method: string, path: string, body?: unknown, signal?: AbortSignal, more?: Headers): Promise<T> {
    const response = await this.#fetch(method, path, body, signal, more);
    if (response.status === 204) return undefined as T;
    try {
      return (await response.json()) as T;
    } catch (thrown) {
      if (isAbort(thrown)) throw thrown;
      throw errorOf(response.status, null);
    }
  }

  async #fetch(method: string, path: string, body?: unknown, signal?: AbortSignal, more?: Headers): Promise<Response> {
    const headers: Headers = { ...more, Accept: "application/json, text/event-stream" };
    const file = body instanceof Blob ? body : null;
    if (body !== undefined) headers["Content-Type"] = file === null ? "application/json" : "application/octet-stream";
    if (!SAFE.has(method) && this.csrf !== "") headers["X-CSRF-Token"] = this.csrf;
    const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store", redirect: "error" };
    if (body !== undefined) init.body = file ?? JSON.stringify(body);
    if (signal !== undefined) init.signal = signal;
    const address = path.startsWith("/v1/")
      ? `${this.base.replace("intramural/v1", "v1")}${path.slice(3)}`
      : this.base + path;
    let response: Response;
    try {
      response = await this.send(address, init);
    } catch (thrown) {
      if (isAbort(thrown)) throw thrown;
      throw unreached();
    }
    if (response.ok) return response;
    const error = errorOf(
      response.status,
      await response.json().catch(() => null),
      response.headers.get("Retry-After"),
    );
    if (error.status === 401 && !ASKS_FOR_PASSWORD.has(path)) this.onSignedOut();
    throw error;
  }
}

function queryText(query: Query | undefined): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {}))
    if (Array.isArray(value)) for (const each of value) given.append(name, each);
    else if (value !== null && value !== undefined && value !== "") given.set(name, String(value));
  const text = given.toString();
  return text === "" ? "" : `?${text}`;
}

/** A path segment from a name that may hold anything. */
export const segment = (name: string): string => encodeURIComponent(name);

export const api = new Api();
