/** The shapes of `/intramural/v1`. Times are milliseconds since the epoch, sizes are bytes. */

export type Role = "administrator" | "auditor" | "member";
export type Scope = "inference" | "chats" | "admin" | "metrics";
export const ROLES: readonly Role[] = ["member", "auditor", "administrator"];
export const SCOPES: readonly Scope[] = ["inference", "chats", "admin", "metrics"];

export interface Welcome {
  version: string;
  setup_needed: boolean;
  signed_in: boolean;
}

export interface Me {
  id: string;
  username: string;
  role: Role;
  csrf_token: string;
  permissions: string[];
}

export interface LoginSession {
  id: string;
  created_ms: number;
  last_seen_ms: number;
  user_agent: string;
  current: boolean;
}

export interface Key {
  id: string;
  name: string;
  hint: string;
  person_id: string;
  username: string;
  scopes: Scope[];
  models: string[] | null;
  created_ms: number;
  expires_ms: number | null;
  revoked_ms: number | null;
  last_used_ms: number | null;
}

export interface Person {
  id: string;
  username: string;
  role: Role;
  created_ms: number;
  disabled_ms: number | null;
}

export type ModelState = "stopped" | "starting" | "ready" | "stopping";

export interface Worker {
  pid: number | null;
  planned_bytes: number;
  rss_bytes: number | null;
  slots: number;
  slots_busy: number;
  idle_s: number;
  context_tokens: number;
  layers: string[];
}

export interface Model {
  name: string;
  architecture: string;
  parameters: number;
  quantisation: string;
  size_bytes: number;
  trained_context_tokens: number;
  licence: string;
  source: string;
  trust: string;
  digest: string;
  is_starter: boolean;
  state: ModelState;
  pinned: boolean;
  worker: Worker | null;
}

export interface ModelList {
  models: Model[];
  budget_bytes: number;
  planned_bytes: number;
  queued: number;
}

export interface PullLine {
  id: string;
  state: string;
  step: string;
  done_bytes: number;
  total_bytes: number | null;
  code: string | null;
  message: string | null;
  model: string | null;
}

export interface Machine {
  cores: number;
  memory_bytes: number;
  posture: {
    level: string;
    landlock_abi: number;
    seccomp: boolean;
    netns: boolean;
    own_uid: boolean;
    reasons: string[];
  };
  suggestion: { name: string; why: string } | null;
  version: string;
}

export interface ChatEntry {
  id: string;
  title: string;
  model: string;
  created_ms: number;
  updated_ms: number;
  snippet?: string | null;
}

export interface StoredMessage {
  id: string;
  role: "system" | "user" | "assistant";
  content: string;
  model: string | null;
  outcome: string | null;
  request_id: string | null;
  created_ms: number;
}

export interface Chat extends ChatEntry {
  messages: StoredMessage[];
}

export interface AuditEntry {
  position: number;
  time_ms: number;
  event: string;
  actor: { kind: string; id: string; username: string };
  target: string;
  outcome: string;
  request_id: string | null;
  facts: Record<string, unknown>;
}

export interface AuditPage {
  entries: AuditEntry[];
  size: number;
  checkpoint: { size: number; time_ms?: number; note: string } | null;
}

export interface Verdict {
  ok: boolean;
  size: number;
  first_wrong: number | null;
  reason: string | null;
  took_ms: number;
}

export interface UsageRow {
  key: string;
  requests: number;
  prompt_tokens: number;
  completion_tokens: number;
  cached_tokens: number;
  failed: number;
}

export interface ErrorBody {
  code?: string | null;
  message?: string;
  hint?: string | null;
  param?: string | null;
}

/** The usage block that ends a stream, with the timings some engines add. */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens?: number;
}
