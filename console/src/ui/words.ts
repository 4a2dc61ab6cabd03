import { ApiError } from '../api/client';
import type { ActionState, Event, JobState, Mode, Reason, ServeState } from '../api/types';
import type { Key, T } from '../i18n';

/** What the server's closed sets of words are called; every key stands here in full, so that a search finds it. */
export const jobState: Record<JobState, Key> = {
  queued: 'state.queued', starting: 'state.starting', running: 'state.running', stopping: 'state.stopping',
  succeeded: 'state.succeeded', failed: 'state.failed', canceled: 'state.canceled',
};
export const serveState: Record<ServeState, Key> = {
  START: 'serve.start', LOADING: 'serve.loading', AVAILABLE: 'serve.available', UNLOADING: 'serve.unloading', END: 'serve.end',
};
export const actionState: Record<ActionState, Key> = {
  proposed: 'action.proposed', decided: 'action.decided', applied: 'action.applied', verified: 'action.verified', failed: 'action.failed',
};
export const mode: Record<Mode, Key> = { off: 'mode.off', advise: 'mode.advise', act: 'mode.act' };

const kinds: Record<string, Key> = { train: 'kind.train', command: 'kind.command', service: 'kind.service' };
const roles: Record<string, Key> = { admin: 'role.admin', developer: 'role.developer', viewer: 'role.viewer', service: 'role.service' };
const constraints: Record<string, Key> = {
  cpu: 'constraint.cpu', memory: 'constraint.memory', disk: 'constraint.disk', accelerators: 'constraint.accelerators', nodes: 'constraint.nodes', gang: 'constraint.gang', storage: 'constraint.storage', bandwidth: 'constraint.bandwidth',
  power: 'constraint.power', 'power cap': 'constraint.powercap', uplink: 'constraint.uplink', model: 'constraint.model', topology: 'constraint.topology',
  quota: 'constraint.quota', order: 'constraint.order', room: 'constraint.room', stopping: 'constraint.room', reservation: 'constraint.reservation', time: 'constraint.time', window: 'constraint.time', array: 'constraint.array',
};
const verbs: Record<string, Key> = { restart_task: 'verb.restart_task', adjust_grant: 'verb.adjust_grant', relocate_jobs: 'verb.relocate_jobs' };
const events: Record<string, Key> = {
  'job.submitted': 'event.job.submitted', 'job.placed': 'event.job.placed', 'job.starting': 'event.job.starting', 'job.started': 'event.job.started', 'job.waiting': 'event.job.waiting', 'job.requeued': 'event.job.requeued', 'job.retried': 'event.job.retried', 'job.canceled': 'event.job.canceled', 'job.ending': 'event.job.ending', 'job.finished': 'event.job.finished', 'job.finish_delayed': 'event.job.finish_delayed',
  'job.task_started': 'event.job.task_started', 'job.task_ended': 'event.job.task_ended', 'job.scaled': 'event.job.scaled', 'job.resized': 'event.job.resized', 'job.replica_died': 'event.job.replica_died', 'job.replica_restarted': 'event.job.replica_restarted', 'job.replica_stopped': 'event.job.replica_stopped', 'job.grant_adjusted': 'event.job.grant_adjusted',
  'model.registered': 'event.model.registered', 'model.exported': 'event.model.exported', 'model.aliased': 'event.model.aliased', 'model.unaliased': 'event.model.unaliased',
  'service.release_began': 'event.service.release_began', 'service.release_changed': 'event.service.release_changed', 'service.release_ended': 'event.service.release_ended', 'service.drift': 'event.service.drift', 'service.drift_ended': 'event.service.drift_ended', 'service.log_read': 'event.service.log_read', 'service.idle': 'event.service.idle', 'model.warmup_set': 'event.model.warmup_set', 'model.warmup_removed': 'event.model.warmup_removed', 'model.reference_set': 'event.model.reference_set',
  'service.deployed': 'event.service.deployed', 'service.undeployed': 'event.service.undeployed', 'service.added': 'event.service.added', 'service.changed': 'event.service.changed', 'service.failed': 'event.service.failed', 'service.batching': 'event.service.batching', 'service.removed': 'event.service.removed',
  'data.imported': 'event.data.imported', 'code.uploaded': 'event.code.uploaded', 'node.cordoned': 'event.node.cordoned', 'node.uncordoned': 'event.node.uncordoned', 'policy.mode_set': 'event.policy.mode_set',
  'reservation.added': 'event.reservation.added', 'reservation.deleted': 'event.reservation.deleted', 'reservation.ended': 'event.reservation.ended',
  'action.proposed': 'event.action.proposed', 'action.decided': 'event.action.decided', 'action.applied': 'event.action.applied', 'action.verified': 'event.action.verified', 'action.failed': 'event.action.failed',
  'session.opened': 'event.session.opened', 'session.closed': 'event.session.closed', 'link.created': 'event.link.created', 'user.created': 'event.user.created', 'user.deleted': 'event.user.deleted', 'user.role': 'event.user.role', 'user.password': 'event.user.password', 'user.enabled': 'event.user.enabled', 'user.disabled': 'event.user.disabled',
  'token.created': 'event.token.created', 'token.revoked': 'event.token.revoked', 'grant.created': 'event.grant.created', 'grant.revoked': 'event.grant.revoked', 'secret.created': 'event.secret.created', 'secret.updated': 'event.secret.updated', 'secret.deleted': 'event.secret.deleted', 'key.rotated': 'event.key.rotated', 'key.retired': 'event.key.retired', 'access.denied': 'event.access.denied',
};

/** A word of an open set: translated when known, as the server wrote it when not. */
const named = (table: Record<string, Key>) => (t: T, word: string) => (table[word] ? t(table[word]) : word);
export const kind = named(kinds);
export const role = named(roles);
export const constraint = named(constraints);
export const verb = named(verbs);
export const eventName = named(events);

/** Why something waits: from the decision's record, or the server's sentence where nothing is recorded. */
export function waits(t: T, job: { reason?: string; reasons?: Reason[]; state?: JobState }): string {
  if (!job.reasons?.length || (job.state && job.state !== 'queued')) return job.reason ?? '';
  const each = job.reasons.map((r) => t('why.one', { constraint: constraint(t, r.constraint), needed: r.needed, offered: r.offered }));
  return t('why.waits', { what: each.join(t('why.and')) });
}

/** What a dot beside an event says: good, bad, under way, wants attention, or nothing. */
export function tone(e: Event): 'ok' | 'bad' | 'run' | 'warn' | 'none' {
  const state = (e.data as { state?: string } | undefined)?.state;
  const verb = e.kind.split('.').pop() ?? '';
  if (verb === 'finished') return state === 'succeeded' ? 'ok' : state === 'failed' ? 'bad' : 'none';
  if (/(failed|denied|died)$/.test(verb)) return 'bad';
  if (/^(verified|deployed|registered|imported|replica_restarted)$/.test(verb)) return 'ok';
  if (/^(submitted|placed|starting|started|task_started|decided|applied|retried)$/.test(verb)) return 'run';
  if (/^(cordoned|proposed|canceled|undeployed|exported|requeued)$/.test(verb)) return 'warn';
  return 'none';
}

/** The state that an end came to, where the event tells. */
export function outcome(e: Event): JobState | undefined {
  const state = (e.data as { state?: JobState } | undefined)?.state;
  return e.kind === 'job.finished' && state && state in jobState ? state : undefined;
}

/** The page that shows a subject such as job/12, model/mnist:3 or service/mnist. */
export function pageOf(subject: string): string | undefined {
  const [type, name = ''] = subject.split(/\/(.*)/s);
  if (!name) return undefined;
  switch (type) {
    case 'job': return `/jobs/${name}`;
    case 'model': return `/models/${encodeURIComponent(name.replace(/:\d*$/, ''))}`;
    case 'service': return `/serving/${encodeURIComponent(name.replace(/:\d*$/, ''))}`;
    default: return undefined;
  }
}

/** An error in words: the server's sentence, or ours where the server said nothing. */
export function words(t: T, err: unknown): string {
  if (err instanceof ApiError) {
    if (err.message) return err.message;
    if (err.status === 0) return t('error.unreachable');
    if (err.status === 401) return t('error.unauthenticated');
    if (err.status === 403) return t('error.denied');
    if (err.status === 404) return t('error.not_found');
    if (err.status === 413) return t('error.too_large');
    return t('error.status', { status: err.status });
  }
  return t('error.fault', { message: err instanceof Error ? err.message : String(err) });
}
