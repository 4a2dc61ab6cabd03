import { useSyncExternalStore } from 'react';
import type { Service } from '../../api/types';

/** What the page has seen of a service: rates are differences of the server's counters. */
export interface Seen { time: number[]; requests: (number | null)[]; errors: (number | null)[]; p50: (number | null)[]; p99: (number | null)[] }

const kept = 150;
const nothing: Seen = { time: [], requests: [], errors: [], p50: [], p99: [] };

export class History {
  private last = new Map<string, { time: number; requests: number; errors: number }>();
  private seen = new Map<string, Seen>();
  private listeners = new Set<() => void>();

  /** Takes a look at all services, once per look. */
  add(services: Service[], time: number) {
    for (const s of services) {
      const before = this.last.get(s.model);
      const span = before ? (time - before.time) / 1000 : 0;
      if (before && span < 0.5) continue;
      this.last.set(s.model, { time, requests: s.requests, errors: s.errors });
      const old = this.seen.get(s.model) ?? nothing;
      // A counter that fell was set back by a restart: there is no rate across it.
      const rate = (now: number, then: number | undefined) => (then === undefined || span <= 0 || now < then ? null : (now - then) / span);
      const push = <T,>(list: T[], v: T) => [...list.slice(-kept + 1), v];
      const busy = before !== undefined && s.requests > before.requests;
      this.seen.set(s.model, {
        time: push(old.time, time / 1000),
        requests: push(old.requests, rate(s.requests, before?.requests)),
        errors: push(old.errors, rate(s.errors, before?.errors)),
        p50: push(old.p50, busy || s.rps > 0 ? s.p50_ms : null),
        p99: push(old.p99, busy || s.rps > 0 ? s.p99_ms : null),
      });
    }
    this.listeners.forEach((f) => f());
  }

  subscribe = (f: () => void) => {
    this.listeners.add(f);
    return () => this.listeners.delete(f);
  };
  of = (model: string) => this.seen.get(model) ?? nothing;
}

export const history = new History();
export const useSeen = (model: string) => useSyncExternalStore(history.subscribe, () => history.of(model));
