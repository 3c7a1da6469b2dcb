/** Events of the log in plain words, and sorted for whoever looks for one. */

import { admin } from "./admin-words";
import { visible } from "./visible";
import { words } from "./words";

const EVENTS: Readonly<Record<string, string>> = { ...words.audit.events, ...admin.events };

/** Events by the first part of their name; those of few kinds are found under a neighbour. */
const FAMILIES: Readonly<Record<string, readonly string[]>> = {
  login: ["login", "logout", "session", "setup", "factor", "recovery_codes", "recovery_code", "access"],
  person: ["person", "password", "identity", "roster"],
  group: ["group", "role"],
  consent: ["ages", "consent", "notice", "labels", "use", "overseer", "output"],
  workspace: ["workspace", "policy"],
  key: ["key", "vault"],
  chat: ["chat", "embedding", "rerank", "receipt", "response", "responses", "conversation", "guard"],
  file: ["file", "documents", "image", "batch"],
  model: ["model", "bundle", "library", "blob", "engine", "engines"],
  quota: ["quota", "quotas"],
  audit: ["audit", "report", "review", "evidence", "attestation"],
  emergency: ["breakglass"],
  kept: ["legal_hold", "retention"],
  egress: ["egress"],
  service: ["service", "sandbox", "backup", "database"],
};

/** What an event is in words; one that is not known here keeps its name, made harmless. */
export const eventWords = (event: string): string => EVENTS[event] ?? visible(event);

const kindOf = (event: string): string => event.split(".", 1)[0] ?? "";

/** Every event under its family, with the kinds of which there are several: the server finds what begins alike. */
export const families = Object.entries(FAMILIES).map(([name, kinds]) => ({
  name,
  label: admin.audit.groups[name] ?? name,
  events: Object.entries(EVENTS).filter(([event]) => kinds.includes(kindOf(event))),
  kinds: kinds.filter((kind) => Object.keys(EVENTS).filter((event) => event.startsWith(`${kind}.`)).length > 2),
}));
