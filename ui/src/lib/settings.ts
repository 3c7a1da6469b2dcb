/** The rooms behind the chat: which there are, who sees them, and under which heading. A new room is one entry here. */

import type { Component } from "svelte";
import type { IconName } from "../parts/Icon.svelte";
import { words } from "./words";

/** Headings of the navigation, in their order. One without a room that somebody sees is not shown. */
export const HEADINGS = ["own", "people", "rules", "record", "machine"] as const;
export type RoomHeading = (typeof HEADINGS)[number];

/** Those that make an entry "Administration" worth having. */
const ADMINISTRATION: readonly RoomHeading[] = ["people", "rules", "record"];

export interface Room {
  name: string;
  label: string;
  icon: IconName;
  /** Who has one of these sees it; `people.read` is also had with `people.read.managed`. */
  permission: string | readonly string[];
  heading: RoomHeading;
  /** Its screen, fetched when it is opened; what has none is elsewhere. */
  page?: () => Promise<{ default: Component }>;
  /** Where it is, when it is no room of the settings. */
  href?: string;
}

export const ROOMS: readonly Room[] = [
  {
    name: "account",
    label: words.nav.account,
    icon: "person",
    permission: "me.read",
    heading: "own",
    page: () => import("../pages/Account.svelte"),
  },
  {
    name: "keys",
    label: words.nav.keys,
    icon: "key",
    permission: "keys.read",
    heading: "own",
    page: () => import("../pages/Keys.svelte"),
  },
  {
    name: "usage",
    label: words.nav.usage,
    icon: "chart",
    permission: "usage.read",
    heading: "own",
    page: () => import("../pages/Usage.svelte"),
  },
  {
    name: "permissions",
    label: words.nav.permissions,
    icon: "question",
    permission: "policy.explain",
    heading: "own",
    page: () => import("../pages/Permissions.svelte"),
  },
  {
    name: "people",
    label: words.nav.people,
    icon: "people",
    permission: "people.read",
    heading: "people",
    page: () => import("../pages/People.svelte"),
  },
  {
    name: "groups",
    label: words.nav.groups,
    icon: "tree",
    permission: "groups.read",
    heading: "people",
    page: () => import("../pages/Groups.svelte"),
  },
  {
    name: "services",
    label: words.nav.services,
    icon: "plug",
    permission: "people.read",
    heading: "people",
    page: () => import("../pages/Services.svelte"),
  },
  {
    name: "roles",
    label: words.nav.roles,
    icon: "badge",
    permission: "roles.read",
    heading: "people",
    page: () => import("../pages/Roles.svelte"),
  },
  {
    name: "lists",
    label: words.nav.lists,
    icon: "order",
    permission: "people.import",
    heading: "people",
    page: () => import("../pages/Lists.svelte"),
  },
  {
    name: "consents",
    label: words.nav.consents,
    icon: "check",
    permission: ["ages.read.all", "ages.read.managed"],
    heading: "people",
    page: () => import("../pages/Consents.svelte"),
  },
  {
    name: "workspaces",
    label: words.nav.workspaces,
    icon: "folder",
    permission: "workspaces.read.all",
    heading: "rules",
    page: () => import("../pages/Workspaces.svelte"),
  },
  {
    name: "limits",
    label: words.nav.limits,
    icon: "gauge",
    permission: "quotas.read.all",
    heading: "rules",
    page: () => import("../pages/Limits.svelte"),
  },
  {
    name: "models",
    label: words.nav.models,
    icon: "box",
    permission: "models.read",
    heading: "machine",
    href: "#/models/here",
  },
  {
    name: "audit",
    label: words.nav.audit,
    icon: "shield",
    permission: "audit.read",
    heading: "record",
    page: () => import("../pages/Audit.svelte"),
  },
  {
    name: "retention",
    label: words.nav.retention,
    icon: "hold",
    permission: ["holds.read", "retention.read"],
    heading: "rules",
    page: () => import("../pages/Retention.svelte"),
  },
  {
    name: "egress",
    label: words.nav.egress,
    icon: "external",
    permission: "egress.read",
    heading: "rules",
    page: () => import("../pages/Egress.svelte"),
  },
  {
    name: "notices",
    label: words.nav.notices,
    icon: "info",
    permission: "notices.read.all",
    heading: "rules",
    page: () => import("../pages/NoticesWritten.svelte"),
  },
  {
    name: "emergency",
    label: words.nav.emergency,
    icon: "eye",
    permission: "breakglass.list",
    heading: "record",
    page: () => import("../pages/Emergency.svelte"),
  },
  {
    name: "reports",
    label: words.nav.reports,
    icon: "report",
    permission: "audit.read",
    heading: "record",
    page: () => import("../pages/Reports.svelte"),
  },
  {
    name: "evidence",
    label: words.nav.evidence,
    icon: "check",
    permission: "audit.read",
    heading: "record",
    page: () => import("../pages/Evidence.svelte"),
  },
  {
    name: "attestation",
    label: words.nav.attestation,
    icon: "seal",
    permission: "audit.read",
    heading: "record",
    page: () => import("../pages/Attestation.svelte"),
  },
  {
    name: "machine",
    label: words.nav.machine,
    icon: "cpu",
    permission: "machine.read",
    heading: "machine",
    page: () => import("../pages/Machine.svelte"),
  },
];

/** Whether somebody with these permissions sees a room. */
export function seen(room: Room, permissions: readonly string[]): boolean {
  const wanted = typeof room.permission === "string" ? [room.permission] : room.permission;
  return wanted.some((one) => permissions.includes(one) || permissions.includes(`${one}.managed`));
}

/** The rooms that somebody with these permissions sees, in order. */
export const roomsOf = (permissions: readonly string[]): Room[] => ROOMS.filter((room) => seen(room, permissions));

/** The first of those rooms that is for more than oneself and the machine. */
export const firstOfAdministration = (rooms: readonly Room[]): Room | undefined =>
  ADMINISTRATION.flatMap((heading) => rooms.filter((room) => room.heading === heading && room.page))[0];
