/** Addresses written by a model: which may be offered at all, and what a person should see before opening one. */

const SCHEMES = new Set(["http:", "https:", "mailto:"]);

export interface Destination {
  /** The whole address, normalised: a foreign alphabet in the host shows as `xn--…`. */
  href: string;
  /** Where it really leads: the host, or the mail address. */
  host: string;
  /** It carries `name@` before the host, a common disguise. */
  disguised: boolean;
  mail: boolean;
}

/** The destination of an absolute http(s) or mailto address; null for every other kind (javascript:, data:, relative). */
export function destination(address: string): Destination | null {
  let url: URL;
  try {
    url = new URL(address.trim());
  } catch {
    return null;
  }
  if (!SCHEMES.has(url.protocol)) return null;
  const mail = url.protocol === "mailto:";
  if (!mail && url.host === "") return null;
  return {
    href: url.href,
    host: mail ? decoded(url.pathname) : url.host,
    disguised: url.username !== "" || url.password !== "",
    mail,
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
