/** The shapes of `/intramural/v1`. Times are milliseconds since the epoch, sizes are bytes. */

/** One of `ROLES`, or the name of one of the institution's own. */
export type Role = string;
export type Scope = "inference" | "chats" | "admin" | "metrics" | "provision";
export const ROLES: readonly Role[] = ["member", "manager", "auditor", "administrator"];
export const SCOPES: readonly Scope[] = ["inference", "chats", "admin", "metrics"];

export interface Welcome {
  version: string;
  setup_needed: boolean;
  signed_in: boolean;
  /** Where else people sign in. */
  providers?: { name: string; title: string }[];
}

export interface Me {
  id: string;
  username: string;
  role: Role;
  csrf_token: string;
  permissions: string[];
  /** The groups they are in, and those they manage, by identifier. */
  groups?: string[];
  manages?: string[];
  /** What must still be shown or set up before this session opens anything. */
  awaits?: "second" | "passkey" | "enrol" | "enrol_passkey" | null;
}

export interface Factors {
  codes_ms: number | null;
  recovery_left: number;
}

export interface AppSetup {
  secret: string;
  picture: string;
}

export interface RecoveryCodes {
  codes: string[];
  me?: Me | null;
}

export interface Passkey {
  id: string;
  name: string;
  created_ms: number;
}

export interface PasskeyAsked {
  // biome-ignore lint/suspicious/noExplicitAny: what is in it is between the server and the browser
  options: any;
  ticket: string;
}

export interface NewPasskey extends RecoveryCodes {
  passkey: Passkey;
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
  workspace_id?: string | null;
}

export interface Person {
  id: string;
  username: string;
  role: Role;
  kind?: "person" | "service";
  created_ms: number;
  disabled_ms: number | null;
}

export interface PeoplePage {
  people: Person[];
  total: number;
  /** The `after` with which to see more; none: there is no more. */
  next: string | null;
}

export interface Group {
  id: string;
  name: string;
  parent_id: string | null;
  external_id: string | null;
  created_ms: number;
  /** How many people were put into it itself. */
  people: number;
}

export interface GroupMember {
  person_id: string;
  username: string;
  manager: boolean;
}

export type Label = "public" | "internal" | "confidential" | "phi" | "education";
export const LABELS: readonly Label[] = ["public", "internal", "confidential", "phi", "education"];
export type DataClass = "chat" | "file" | "audio" | "embedding" | "log";
export const DATA_CLASSES: readonly DataClass[] = ["chat", "file", "audio", "embedding", "log"];

/** A workspace as its members see it. `models` null: any. */
export interface Place {
  id: string;
  name: string;
  label: Label;
  models: string[] | null;
  purposes: string[];
}

export interface Workspace extends Place {
  retention_days: Partial<Record<DataClass, number>>;
  people: string[];
  groups: string[];
  created_ms: number;
  /** Since when nobody enters it. */
  closed_ms?: number | null;
}

export interface OwnRole {
  name: string;
  permissions: string[];
}

/** What the policy was asked, as it can be asked again. */
export interface Asked {
  action: string;
  thing: string;
  workspace: string;
  purpose: string;
}

export interface Explained {
  allowed: boolean;
  rule: string;
  reason: string;
  hint: string;
  action: string;
  person: string;
  role: Role;
  groups: string[];
  group_names: string[];
  workspace: string | null;
}

export type ModelState = "stopped" | "starting" | "ready" | "resting" | "stopping";

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
  files: ModelFile[];
  /** The engine on another machine that has it; null where it runs here. */
  engine?: string | null;
  /** What exactly was resolved: a commit, a manifest's digest. */
  revision: string | null;
  signer: string | null;
  /** What the inspection found suspicious; with it the model is held back until somebody releases it. */
  quarantine: Finding[] | null;
  released: { by: string; reason: string; at_ms: number } | null;
  added_ms: number;
}

export interface ModelFile {
  name: string;
  role: string;
  digest: string;
  size_bytes: number;
}

export interface Finding {
  code: string;
  message: string;
  line: number | null;
}

export interface ModelList {
  models: Model[];
  budget_bytes: number;
  planned_bytes: number;
  queued: number;
}

export type PullPhase = "running" | "paused" | "shelved" | "quarantined" | "refused" | "stopped" | "cancelled";

/** A model on its way here. `step` says what is being done, `state` whether anything is. */
export interface Pull {
  id: string;
  source: string;
  name: string | null;
  /** The model it became, once it is on the shelf. */
  model: string | null;
  state: PullPhase;
  step: string;
  done_bytes: number;
  total_bytes: number | null;
  bytes_per_s: number | null;
  left_s: number | null;
  code: string | null;
  message: string | null;
  hint: string | null;
  requested_by: string;
  created_ms: number;
  ended_ms: number | null;
}

export type Task = "chat" | "code" | "vision" | "embedding" | "rerank" | "speech";
export const TASKS: readonly Task[] = ["chat", "code", "vision", "embedding", "rerank", "speech"];
export type Allowance = "yes" | "conditions" | "no";
export type Use = "schools" | "hospitals" | "business";
export const USES: readonly Use[] = ["schools", "hospitals", "business"];
export type FitVerdict = "comfortable" | "tight" | "no";

export interface Fit {
  verdict: FitVerdict;
  because: string;
  memory_bytes: number;
  context_tokens: number;
  tokens_per_s: number | null;
}

export interface Variant {
  id: string;
  quantisation: string;
  format: string;
  size_bytes: number;
  /** Else the size is an estimate. */
  size_known: boolean;
  source: string;
  files: { name: string; role: string; sha256: string | null; size_bytes: number | null }[];
  /** The catalogue says which digest must arrive. */
  pinned: boolean;
  /** This version can run it, not only keep it. */
  servable: boolean;
  /** The name under which it is on the shelf. */
  installed: string | null;
  fit: Fit;
}

export interface Entry {
  id: string;
  name: string;
  publisher: string;
  family: string;
  summary: string;
  tasks: Task[];
  modalities: string[];
  parameters: number;
  active_parameters: number;
  context_tokens: number;
  /** A month, such as `2025-04`. */
  released: string | null;
  licence: { id: string; words: string } & Record<Use, Allowance>;
  variants: Variant[];
}

export interface Catalogue {
  /** A day, such as `2026-11-01`. */
  dated: string;
  source: string;
  signed_by: string | null;
  entries: Entry[];
  machine: { memory_bytes: number; budget_bytes: number; vram_bytes: number; cores: number };
  disk: { total_bytes: number; free_bytes: number; library_bytes: number };
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
  seal: { level: string; layers: string[]; connects: string[] } | null;
  downgrades: Downgrade[];
  processes: Process[];
  anchored: { colour: "green" | "amber" | "red"; why: string };
  denied: { red: boolean; why: string; refused: RefusedProcess[] };
  engine: { version: string; build: number | null; floor: number; refused: string | null; open_flaws: string[] };
  suggestion: { name: string; why: string } | null;
  version: string;
}

/** A confined process that tried what none ever tries: system call → how often. `about`: what it was started for. */
export interface RefusedProcess {
  process: "worker" | "broker" | "child";
  about: string;
  pid: number;
  calls: Record<string, number>;
  first_ms: number;
  last_ms: number;
}

/** A setting that gives up what is promised as it comes; `origin` is the variable or file that it stands in. */
export interface Downgrade {
  setting: string;
  value: string;
  says: string;
  origin: string;
  in_force: boolean;
}

/** A wall around a process. `kernel`: the kernel says so, else it is the process's own word. */
export interface Wall {
  name: string;
  state: "holds" | "missing" | "left_out";
  kernel: boolean;
  setting: string;
}

/** A process of the service, as the kernel tells of it. Numbers that nobody may know are null. */
export interface Process {
  name: string;
  role: "gateway" | "spawner" | "broker" | "worker" | "child";
  pid: number;
  user: number;
  seccomp: boolean;
  filters: number;
  no_new_privileges: boolean;
  capabilities: string;
  interfaces: string[];
  network: number | null;
  sockets: number | null;
  internet: number | null;
  layers: string[];
  walls: Wall[];
}

export interface ChatEntry {
  id: string;
  title: string;
  model: string;
  workspace_id?: string | null;
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

/** How a limit stands; amounts are seconds, whole currency, or plain numbers. */
export interface Quota {
  id: string;
  words: string;
  measure: "requests" | "tokens" | "seconds" | "streams" | "storage_bytes" | "money";
  unit: string;
  period: "now" | "minute" | "hour" | "day" | "month";
  limit: number;
  used: number;
  held: number;
  remaining: number;
  renews_ms: number | null;
}

export type QuotaSubject = "everyone" | "person" | "group" | "key" | "workspace";

/** A limit, with the balances of those who used most of it. */
export interface QuotaListed {
  id: string;
  words: string;
  subject: QuotaSubject;
  subject_id: string;
  each: boolean;
  model: string | null;
  measure: Quota["measure"];
  unit: string;
  period: Quota["period"];
  limit: number;
  /** `who`: a person; empty: all together. */
  balances: { who: string; used: number; held: number; remaining: number; renews_ms: number | null }[];
}

export interface AuditPage {
  entries: AuditEntry[];
  /** Where to look for more (`before`); none: there is no more. */
  older: number | null;
  size: number;
  checkpoint: { size: number; time_ms?: number; note: string } | null;
}

/** A decision about connections to one host and port for one purpose, or a question (`asked`). `port` 0: any. */
export interface EgressEntry {
  id: string;
  purpose: string;
  host: string;
  port: number;
  verdict: "asked" | "allow" | "deny";
  inside: boolean;
  once: boolean;
  expires_ms: number | null;
  about: string | null;
  asked_by: string | null;
  asked_ms: number | null;
  decided_by: string | null;
  decided_ms: number | null;
}

/** What may leave the machine. */
/** An account of the installation that is kept. `nonce`: the number that whoever asked had chosen. */
export interface Attestation {
  id: string;
  time_ms: number;
  nonce: string | null;
  scheduled: boolean;
  colour: "green" | "amber" | "red";
  reds: number;
  ambers: number;
}

export interface Egress {
  mode: string;
  running: boolean;
  settings: { setting: string; purpose: string; host: string; port: number | null; near: string[] }[];
  entries: EgressEntry[];
}

/** Nothing of these people, or in this workspace, is deleted. `lifted_ms` null: it holds. */
export interface Hold {
  id: string;
  subject: "person" | "group" | "workspace";
  subject_id: string;
  reason: string;
  put_by: string;
  put_ms: number;
  lifted_by: string | null;
  lifted_reason: string | null;
  lifted_ms: number | null;
  people: number;
}

/** What is kept of one kind in one place, and when it goes. `days` null: for ever. */
export interface Kept {
  data_class: string;
  what: string;
  workspace_id: string | null;
  workspace: string | null;
  /** Of people of this age alone; null: of everybody. */
  age: string | null;
  days: number | null;
  number: number;
  held: number;
  due: number;
  due_in_30_days: number;
  next_ms: number | null;
}

export interface Retention {
  kept: Kept[];
  round: { running: boolean; error: string | null };
}

/** A control with what it came to last. `packs`: the laws whose pack has it. */
export interface Control {
  control: string;
  says: string;
  check: string;
  outcome: "met" | "failed" | "not seen";
  seen: string;
  checked_ms: number;
  since_ms: number;
  off: string;
  mend: string;
  packs: string[];
}

export interface EvidencePack {
  law: string;
  title: string;
  scope: string;
}

export interface Evidence {
  packs: EvidencePack[];
  controls: Control[];
}

/** A pack: the signed statement as a file of its own, and the same as a page (HTML). */
export interface MadePack {
  pack: {
    statement: { law: string; title: string; time_ms: number; sums: { met: number; failed: number; not_seen: number } };
  };
  page: string;
}

/** An entry as reports list it; `interest` and `exception` in those of disclosures. */
export interface ReportLine {
  position: number;
  time_ms: number;
  event: string;
  person: string;
  username: string | null;
  role: string | null;
  target: string;
  outcome: string;
  facts: Record<string, unknown>;
  interest?: string | null;
  exception?: string | null;
}

export interface Report {
  report: string;
  from_ms: number;
  to_ms: number;
  made_ms: number;
  version: string;
  checkpoint: string;
}

interface Listed {
  number: number;
  listed: ReportLine[];
}

interface Counted {
  person: string;
  username: string | null;
  event?: string;
  day?: string;
  number: number;
}

export interface ActivityReview extends Report {
  entries: number;
  failed_sign_ins: Listed;
  refused: Listed;
  emergency_access: Listed;
  exports: Listed;
  changes: Listed;
  sign_offs: Listed;
  clock_skew: Listed;
  off_hours: Counted[];
  bulk_reads: Counted[];
}

export interface Disclosures extends Report {
  student: string;
  disclosures: ReportLine[];
  to_be_recorded: number;
}

export interface SystemRecord extends Report {
  system: string;
  outputs: {
    number: number;
    listed: {
      request_id: string;
      time_ms: number;
      outcome: string | null;
      tokens?: { prompt_tokens: number | null; completion_tokens: number | null };
    }[];
  };
  outcomes: Record<string, number>;
  oversight: Listed;
  retention: { log_begins_ms: number | null; kept_days: number; least_days: number };
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

export interface Guard {
  label: string;
  claim: string;
  actions: Record<string, "warn" | "redact" | "block">;
  not_looked_for: string[];
  reader: string;
}

export interface GuardFound {
  kind: string;
  called: string;
  start: number;
  end: number;
  score: number;
  recogniser: string;
  action: string;
}

export interface GuardCheck extends Guard {
  found: GuardFound[];
  redacted: string;
}

export interface ErrorBody {
  code?: string | null;
  message?: string;
  hint?: string | null;
  param?: string | null;
  asked?: Asked | null;
  problems?: Problem[];
}

/** A mistake in a file, with its line. */
export interface Problem {
  file: string;
  line: number;
  code: string;
  message: string;
}

/** The usage block that ends a stream, with the timings some engines add. */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens?: number;
}
