/** Numbers and times as people read them. Pure: `now` is handed in where it matters. */

import { words } from "./words";

const DAY_MS = 86_400_000;

export function bytes(size: number): string {
  const units = words.format.bytes;
  let at = 0;
  let value = size;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at++;
  }
  return `${value.toLocaleString("en", { maximumFractionDigits: value < 10 && at > 0 ? 1 : 0 })} ${units[at]}`;
}

export function parameters(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toLocaleString("en", { maximumFractionDigits: 1 })} B`;
  if (count >= 1e6) return `${Math.round(count / 1e6)} M`;
  return count.toLocaleString("en");
}

/** A number of tokens as it is known by: 131,072 is “128k”. */
export function tokens(size: number): string {
  const step = size % 1024 === 0 ? 1024 : 1000;
  if (size >= step * step) return `${Math.round(size / step / step)}M`;
  return size >= step ? `${Math.round(size / step)}k` : size.toLocaleString("en");
}

/** A month such as `2025-04`, as people write it; anything else as it is. */
export function month(text: string): string {
  const at = /^\d{4}-\d{2}$/.test(text) ? Date.parse(`${text}-15T12:00:00`) : Number.NaN;
  return Number.isNaN(at) ? text : new Date(at).toLocaleDateString("en", { month: "short", year: "numeric" });
}

/** A day such as `2026-11-01`, as people write it; anything else as it is. */
export function date(text: string): string {
  const at = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T12:00:00`) : Number.NaN;
  return Number.isNaN(at) ? text : day(at);
}

export const count = (value: number): string => value.toLocaleString("en");

export function day(ms: number): string {
  return new Date(ms).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

export function moment(ms: number): string {
  return new Date(ms).toLocaleString("en", {
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hour12: false,
  });
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function ago(ms: number, now: number): string {
  const seconds = Math.round((ms - now) / 1000);
  const size = Math.abs(seconds);
  if (size < 45) return words.format.now;
  if (size < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (size < 86_400) return relative.format(Math.round(seconds / 3600), "hour");
  if (size < 30 * 86_400) return relative.format(Math.round(seconds / 86_400), "day");
  return day(ms);
}

export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

export interface Group<T> {
  label: string;
  items: T[];
}

/** Sorts newest first and cuts into today, yesterday, the week, the month, then months by name. */
export function byDay<T extends { updated_ms: number }>(items: readonly T[], now: number): Group<T>[] {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  const groups: Group<T>[] = [];
  for (const item of [...items].sort((a, b) => b.updated_ms - a.updated_ms)) {
    const label = dayLabel(item.updated_ms, midnight);
    const last = groups.at(-1);
    if (last?.label === label) last.items.push(item);
    else groups.push({ label, items: [item] });
  }
  return groups;
}

function dayLabel(ms: number, midnight: number): string {
  if (ms >= midnight) return words.chats.today;
  if (ms >= midnight - DAY_MS) return words.chats.yesterday;
  if (ms >= midnight - 7 * DAY_MS) return words.chats.week;
  if (ms >= midnight - 30 * DAY_MS) return words.chats.month;
  return new Date(ms).toLocaleDateString("en", { month: "long", year: "numeric" });
}

/** A short name for what signed in: “Firefox on Linux”. */
export function agent(text: string): string {
  const browser = /Edg\//.test(text)
    ? "Edge"
    : /Firefox\//.test(text)
      ? "Firefox"
      : /Chrome\//.test(text)
        ? "Chrome"
        : /Safari\//.test(text)
          ? "Safari"
          : "";
  const system = /Android/.test(text)
    ? "Android"
    : /iPhone|iPad/.test(text)
      ? "iOS"
      : /Windows/.test(text)
        ? "Windows"
        : /Mac OS X/.test(text)
          ? "macOS"
          : /Linux|X11/.test(text)
            ? "Linux"
            : "";
  if (browser && system) return `${browser} on ${system}`;
  return browser || system || text.slice(0, 60) || words.account.unknownAgent;
}
