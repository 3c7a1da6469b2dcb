/** The rooms behind the chat: which there are, and what it takes to see them. */

import type { IconName } from "../parts/Icon.svelte";
import { words } from "./words";

export interface Room {
  name: string;
  label: string;
  icon: IconName;
  permission: string;
  group: "own" | "admin";
  /** Where it is, when it is no room of the settings. */
  href?: string;
}

export const ROOMS: readonly Room[] = [
  { name: "account", label: words.nav.account, icon: "person", permission: "me.read", group: "own" },
  { name: "keys", label: words.nav.keys, icon: "key", permission: "keys.read", group: "own" },
  { name: "usage", label: words.nav.usage, icon: "chart", permission: "usage.read", group: "own" },
  { name: "people", label: words.nav.people, icon: "people", permission: "people.read", group: "admin" },
  {
    name: "models",
    label: words.nav.models,
    icon: "box",
    permission: "models.read",
    group: "admin",
    href: "#/models/here",
  },
  { name: "audit", label: words.nav.audit, icon: "shield", permission: "audit.read", group: "admin" },
  { name: "emergency", label: words.nav.emergency, icon: "eye", permission: "breakglass.list", group: "admin" },
  { name: "machine", label: words.nav.machine, icon: "cpu", permission: "machine.read", group: "admin" },
];
