/** Who is signed in, and whether this server has been set up. */

import { type Api, ApiError, api, asApiError } from "./api";
import { chats } from "./chats.svelte";
import { forgetConversations } from "./conversation.svelte";
import { showPasskey } from "./passkeys";
import { places } from "./places.svelte";
import { shelf } from "./shelf.svelte";
import type { Me, Welcome } from "./types";
import { words } from "./words";

type Phase = "starting" | "down" | "setup" | "login" | "more" | "in";

class Session {
  phase = $state<Phase>("starting");
  me = $state.raw<Me | null>(null);
  error = $state.raw<ApiError | null>(null);
  version = $state("");
  providers = $state.raw<NonNullable<Welcome["providers"]>>([]);

  #leaving: (() => void)[] = [];

  constructor(private readonly api: Api) {
    api.onSignedOut = () => {
      if (this.phase !== "in") return;
      this.#leave();
      this.error = new ApiError(401, "signed_out", words.errors.signedOut, words.errors.signedOutHint);
    };
  }

  /** What is loaded later and keeps something of a person forgets it here. */
  onLeave(forget: () => void): void {
    this.#leaving.push(forget);
  }

  can(permission: string): boolean {
    return this.me?.permissions.includes(permission) ?? false;
  }

  /** The same for what a manager may with the people of their groups alone. */
  sees(permission: string): boolean {
    return this.can(permission) || this.can(`${permission}.managed`);
  }

  async start(): Promise<void> {
    this.error = null;
    this.phase = "starting";
    try {
      const welcome = await this.api.get<Welcome>("/welcome");
      this.version = welcome.version;
      this.providers = welcome.providers ?? [];
      if (welcome.setup_needed) this.phase = "setup";
      else if (welcome.signed_in) this.#enter(await this.api.get<Me>("/me"));
      else this.phase = "login";
    } catch (thrown) {
      const error = asApiError(thrown);
      if (error.status === 401) this.phase = "login";
      else {
        this.error = error;
        this.phase = "down";
      }
    }
  }

  async setUp(token: string, username: string, password: string): Promise<void> {
    this.#enter(await this.api.post<Me>("/setup", { token, username, password }));
  }

  async signIn(username: string, password: string): Promise<void> {
    this.#enter(await this.api.post<Me>("/login", { username, password }));
  }

  async signInByPasskey(): Promise<void> {
    this.#enter(await showPasskey());
  }

  /** Shows the code that is awaited. */
  async show(code: string): Promise<void> {
    this.#enter(await this.api.post<Me>("/login/second", { code }));
  }

  /** Goes on as `me`, whose session took the place of one that awaited something. */
  enter(me: Me): void {
    this.#enter(me);
  }

  async signOut(): Promise<void> {
    try {
      await this.api.post("/logout");
    } catch (thrown) {
      const error = asApiError(thrown);
      if (error.status !== 401) throw error;
    }
    this.#leave();
    this.error = null;
  }

  /** Takes up changed rights or a new CSRF token. */
  async refresh(): Promise<void> {
    this.#enter(await this.api.get<Me>("/me"));
  }

  #enter(me: Me): void {
    this.api.csrf = me.csrf_token;
    this.me = me;
    this.error = null;
    this.phase = me.awaits ? "more" : "in";
  }

  #leave(): void {
    this.api.csrf = "";
    this.me = null;
    this.phase = "login";
    // The next person at this screen must not find anything of the last one.
    chats.forget();
    shelf.forget();
    places.forget();
    forgetConversations();
    for (const forget of this.#leaving) forget();
  }
}

export const session = new Session(api);
