import { describe, expect, it } from "vitest";
import { Api, ApiError, asApiError, errorOf, segment } from "../../src/lib/api";

interface Sent {
  address: string;
  init: RequestInit;
}

/** An Api that answers with what it is given and keeps what was sent. */
function made(answer: () => Response | Promise<Response>): { api: Api; sent: Sent[] } {
  const sent: Sent[] = [];
  const api = new Api("./intramural/v1", async (address, init) => {
    sent.push({ address: String(address), init: init ?? {} });
    return answer();
  });
  return { api, sent };
}

const json = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response(status === 204 ? null : JSON.stringify(body), { status, headers });

const headersOf = (one: Sent | undefined): Record<string, string> =>
  (one?.init.headers ?? {}) as Record<string, string>;

describe("requests", () => {
  it("carry the CSRF token when they change something, and only then", async () => {
    const { api, sent } = made(() => json(200, {}));
    api.csrf = "token-1";
    await api.get("/me");
    await api.post("/chats", {});
    await api.patch("/chats/a", {});
    await api.remove("/chats/a");
    expect(sent.map((one) => headersOf(one)["X-CSRF-Token"])).toEqual([undefined, "token-1", "token-1", "token-1"]);
  });

  it("go to this server only, with its cookie, uncached and without following redirects", async () => {
    const { api, sent } = made(() => json(200, {}));
    await api.get("/chats", { query: "a b&c", limit: 5, before_ms: null });
    await api.stream("/v1/chat/completions", {});
    expect(sent.map((one) => one.address)).toEqual([
      "./intramural/v1/chats?query=a+b%26c&limit=5",
      "./v1/chat/completions",
    ]);
    for (const { init } of sent)
      expect(init).toMatchObject({ credentials: "same-origin", cache: "no-store", redirect: "error" });
  });

  it("keep any name one path segment", () => {
    expect(segment("org/qwen3:4b ?#")).toBe("org%2Fqwen3%3A4b%20%3F%23");
  });

  it("take an empty answer", async () => {
    const { api } = made(() => json(204, null));
    await expect(api.remove("/keys/a")).resolves.toBeUndefined();
  });
});

describe("errors", () => {
  it("have the message, hint, code and field of the body", async () => {
    const { api } = made(() =>
      json(409, { error: { code: "username_taken", message: "Taken.", hint: "Another.", param: "username" } }),
    );
    await expect(api.post("/people", {})).rejects.toMatchObject({
      status: 409,
      code: "username_taken",
      message: "Taken.",
      hint: "Another.",
      param: "username",
    });
  });

  it("take OpenAI's shape and no shape at all", () => {
    expect(
      errorOf(400, { error: { message: "Too long.", type: "invalid_request_error", code: null, param: null } }),
    ).toMatchObject({ message: "Too long.", code: "http_400", hint: "" });
    for (const body of [null, "text", [], { detail: "x" }, { error: "x" }])
      expect(errorOf(500, body).message).toContain("500");
  });

  it("say when to come back", async () => {
    const { api } = made(() =>
      json(429, { error: { code: "throttled", message: "Not so fast." } }, { "Retry-After": "30" }),
    );
    const error = await api.post("/login", {}).catch(asApiError);
    expect(error).toMatchObject({ retryAfterS: 30, passing: true });
    expect((error as ApiError).hint).toContain("30 seconds");
  });

  it("say that the server cannot be reached", async () => {
    const { api } = made(() => Promise.reject(new TypeError("fetch failed")));
    await expect(api.get("/me")).rejects.toMatchObject({ status: 0, code: "network", passing: true });
  });

  it("do not blame the network for what the page did wrong", () => {
    expect(asApiError(new TypeError("given is undefined"))).toMatchObject({ code: "page" });
    expect(asApiError(new TypeError("network error"))).toMatchObject({ code: "network" });
  });

  it("leave an abort an abort", async () => {
    const { api } = made(() => Promise.reject(new DOMException("stop", "AbortError")));
    await expect(api.get("/me")).rejects.toMatchObject({ name: "AbortError" });
  });

  it("are errors too when a good answer is no JSON", async () => {
    const { api } = made(() => new Response("<html>", { status: 200 }));
    await expect(api.get("/me")).rejects.toBeInstanceOf(ApiError);
  });

  it("tell when the session has ended, but not for a wrong password", async () => {
    const { api } = made(() => json(401, { error: { code: "not_signed_in", message: "No." } }));
    let ended = 0;
    api.onSignedOut = () => {
      ended++;
    };
    await api.post("/login", {}).catch(() => {});
    await api.post("/me/password", {}).catch(() => {});
    expect(ended).toBe(0);
    await api.get("/me").catch(() => {});
    expect(ended).toBe(1);
  });
});
