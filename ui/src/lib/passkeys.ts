/** Asks the browser for passkeys, in the JSON that the server speaks. */

import { ApiError, api, isAbort } from "./api";
import type { Me, NewPasskey, PasskeyAsked } from "./types";
import { words } from "./words";

/** Browsers make passkeys only for names, where the page is safe from eavesdroppers; newer ones read our JSON. */
export const canPasskey = (): boolean =>
  globalThis.isSecureContext &&
  !/^[\d.]+$|^\[/.test(location.hostname) &&
  typeof globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON === "function";

/** Signs in with whichever passkey its person chooses. */
export async function showPasskey(): Promise<Me> {
  const asked = await api.post<PasskeyAsked>("/login/passkey/begin");
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(asked.options);
  const credential = await answered(() => navigator.credentials.get({ publicKey }));
  return api.post<Me>("/login/passkey", { ticket: asked.ticket, credential });
}

/** Makes a passkey for who is signed in. */
export async function makePasskey(name: string): Promise<NewPasskey> {
  const asked = await api.post<PasskeyAsked>("/me/passkeys/begin");
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(asked.options);
  const credential = await answered(() => navigator.credentials.create({ publicKey }));
  return api.post<NewPasskey>("/me/passkeys", { ticket: asked.ticket, credential, name });
}

async function answered(ask: () => Promise<Credential | null>): Promise<unknown> {
  try {
    const given = await ask();
    if (given instanceof PublicKeyCredential) return given.toJSON();
  } catch (thrown) {
    // One word for many things: the person said no, took too long, or has none.
    if (!(thrown instanceof DOMException) || isAbort(thrown)) throw thrown;
  }
  throw new ApiError(0, "no_passkey", words.factors.noPasskey, words.factors.noPasskeyHint);
}
