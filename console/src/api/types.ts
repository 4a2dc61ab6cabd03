/** The bodies of the API, as the domain packages write them. */

export type JobState = 'queued' | 'starting' | 'running' | 'stopping' | 'succeeded' | 'failed' | 'canceled';
export const jobStates: JobState[] = ['queued', 'starting', 'running', 'stopping', 'succeeded', 'failed', 'canceled'];
export const ended = (s: JobState) => s === 'succeeded' || s === 'failed' || s === 'canceled';

export interface List<T> { items: T[] | null; next?: string }
export interface Reason { constraint: string; needed: string; offered: string; detail: string }
export interface Feature { name: string; enforced: boolean; detail: string }
export interface Progress {
  epoch: number; epochs: number; fraction: number; eta_seconds: number;
  loss: number; accuracy: number; val_loss: number; val_accuracy: number;
}
export interface Task {
  index: number; attempt: number; state: JobState; node?: string; pid?: number; exit_code: number; reason?: string;
  started?: string; ended?: string; isolation?: Feature[]; restarts?: number; accelerators?: string[];
}
export interface Resources {
  cpu?: number; memory?: number | string; disk?: number | string; processes?: number;
  accelerators?: number; kind?: string; model?: string; share?: number; accelerator_memory?: number | string;
  storage?: number | string; bandwidth?: number | string; watts?: number;
}
export interface Spec {
  name: string; kind?: string; command?: string[]; data?: string[]; train?: unknown; tasks?: number; resources: Resources;
  min_tasks?: number; not_before?: string; deadline?: string; deferrable?: boolean;
  array?: { count?: number; over?: Record<string, string[]>; limit?: number };
  topology?: { level: 'domain' | 'node' | 'rack'; hard?: boolean };
  register?: string; [other: string]: unknown;
}
export interface Job {
  id: number; name: string; kind: 'train' | 'command' | 'service'; owner: string; state: JobState; reason: string; priority: number; spec: Spec;
  attempt: number; retries_left: number; created: string; started?: string; finished?: string;
  progress?: Progress; tasks: Task[] | null; model?: { name: string; version: number }; reasons?: Reason[]; not_before?: string;
  outlook?: Outlook; array?: Member;
  size?: number; resized?: { time: string; from: number; to: number; why: string };
}
/** Which job of which array it is; members are counted where a list shows the array as one line. */
export interface Member { id: number; index: number; count: number; members?: Partial<Record<JobState, number>> }
/** A running task: what it was promised, what it is granted, what it uses. */
export interface Use { job: number; task: number; attempt: number; node: string; promise: Shares; grant: Shares; fixed: string[]; used: Used }
export interface Shares { cpu?: number; memory?: number; disk?: number; storage?: number; bandwidth?: number }
export interface Used { time: string; cpu: number; throttled: number; memory: number; disk: number; storage: number; networked: boolean; send: number; receive: number }
export interface Why { summary: string; reasons: Reason[] | null; isolation: Feature[] | null; outlook?: Outlook }
/** What a waiting job can expect. */
export interface Outlook {
  queue: string; position: number; of: number; share: number; resource?: string; priority: number;
  earliest?: string; confidence?: number; rule?: string; changes?: Change[]; plan?: Appraisal;
}
/** One change of the specification that would start the job now. */
export interface Change { field: string; from: string; to: string; means: string; stops?: string[] }
export interface Price { resource: string; worth: number; has: number; where: string; nodes: number; model?: string }
export interface Appraisal { planned: number; bound: number; gap: number; prices: Price[] }
export interface Amount { cpu?: number; memory?: number; storage?: number; accelerators?: number; bandwidth?: number; watts?: number }
export interface Queue {
  name: string; parent?: string; weight?: number; guaranteed?: Amount; limit?: Amount;
  held: Amount; share: number; resource: string; running: number; waiting: number;
  /** Of the hall, on average, with past use fading. */
  lately?: number; by?: { user: string; share: number; resource: string; lately: number }[];
}
export interface Waiting {
  job: number; name: string; owner: string; queue: string; priority: number; position: number; since: string; reason: string; reasons?: Reason[];
  earliest?: string; confidence?: number; duration_seconds?: number;
}
export interface Running {
  job: number; name: string; owner: string; queue: string; state: JobState; priority: number; preemptible: boolean;
  placements: { task: number; node: string; accelerators?: string[] }[] | null; since?: string; until?: string;
}
/** A power cap and what is drawn below it, in watts. */
export interface Cap { name: string; parent?: string; watts: number; idle: number; drawn: number }
/** A reservation of the calendar. */
export interface Room { name: string; user?: string; queue?: string; from: string; to: string; places: { node: string; accelerators?: string[] }[] }
export interface Plan { now: string; queues: Queue[]; running: Running[]; waiting: Waiting[]; caps?: Cap[]; reserved?: Room[]; rule?: string; appraisal?: Appraisal }
export interface Metric { seq: number; time: string; step: number; epoch: number; name: string; value: number }

export interface Model { name: string; versions: number; latest: number; aliases: Record<string, number> | null; created: string; updated: string }
export interface Lineage { job?: number; attempt?: number; data?: string[]; spec?: unknown; from?: string; change?: string }
export interface Version {
  model: string; version: number; digest: string; size: number; format: string; source: string; creator: string; created: string;
  metrics?: Record<string, number>; lineage: Lineage;
}
export interface ModelDetail extends Model { items: Version[] | null }

export type ServeState = 'START' | 'LOADING' | 'AVAILABLE' | 'UNLOADING' | 'END';
export interface VersionStatus { version: number; state: ServeState; error?: string; labels?: string[] | null; loaded?: string; memory_bytes?: number; requests?: number; errors?: number; inputs?: TensorSpec[] | null; outputs?: TensorSpec[] | null }
/** A tensor that a version takes or gives; -1 is a dimension that each request chooses, the rows first. */
export interface TensorSpec { name: string; type: string; shape: number[] }
/** What waits before a model and what was joined; sizes counts batches of 1, 2, 3 to 4, 5 to 8, … rows. */
export interface ServeQueue {
  waiting: number; running: number; batches: number; rows: number; padding: number; mean_rows: number; sizes: number[] | null; wait_p50_ms: number; wait_p99_ms: number; shed_full: number; shed_late: number; left: number;
}
export interface Service {
  model: string; version?: number; default?: number; versions: VersionStatus[] | null; requests: number; errors: number; rps: number; p50_ms: number; p99_ms: number; created?: string;
  queue?: ServeQueue; release?: Release; last_release?: { release: Release; outcome: ReleaseOutcome; reasons?: string[] | null; actor: string; time: string }; previous?: number;
}
export type ReleaseMode = 'split' | 'canary' | 'blue-green' | 'shadow';
export type ReleaseOutcome = 'promoted' | 'rolled_back' | 'replaced';
export interface Tally { requests: number; bad: number }
/** One thing that a canary is compared by. Evidence and needed are likelihood ratios, bound and margin parts of requests. */
export interface ReleaseTest { name: string; stable: Tally; candidate: Tally; above_ms?: number; evidence: number; needed: number; bound: number; margin: number }
export interface Release {
  mode: ReleaseMode; stable: number; candidate: number; percent: number; steps?: number[] | null; rule?: object; actor: string; since: string; changed: string;
  verdict?: { call: 'wait' | 'advance' | 'promote' | 'roll_back' | 'hold'; reasons: string[] | null; tests: ReleaseTest[] | null; looks: number; next: number };
  copies?: { compared: number; dropped: number; failed: number; rows: number; agreed: number; max_abs: number; stable_ms: number; shadow_ms: number; error?: string };
}

export interface Node {
  name: string; cpu: number; memory: number; disk: number; accelerators?: { id: string; kind?: string; model?: string; memory?: number; domain?: string; watts?: number }[];
  storage?: number; bandwidth?: number; rack?: string; feed?: string; idle_watts?: number; max_watts?: number;
  cordoned: boolean; reason?: string;
}
export type ActionState = 'proposed' | 'decided' | 'applied' | 'verified' | 'failed';
export type Mode = 'off' | 'advise' | 'act';
export interface Action {
  id: string; time: string; policy: string; mode: Mode; subject: string; verb: string;
  reasons: string[] | null; evidence: { name: string; value: string }[] | null; state: ActionState; outcome: string; by?: string; changed: string;
}
export interface Policy { name: string; about: string; mode: Mode }

export interface Entry {
  seq: number; time: string; actor: string; action: string; subject: string; outcome: string; detail?: unknown; prev: string; hash: string;
}
export interface Verdict { ok: boolean; entries: number; broken?: number; message: string }

export interface Event { seq: number; time: string; topic: string; kind: string; subject: string; actor: string; data?: unknown }
export interface Me { name: string; role: string; via: string }

export interface Overview {
  version: string; uptime_seconds: number; nodes: Node[] | null; jobs: Partial<Record<JobState, number>>;
  cpu_used: number; cpu_total: number; memory_used: number; memory_total: number;
  models: number; services: number; rps: number; p99_ms: number; actions_24h: number; events: Event[] | null;
}
