import type { Plan } from '../../api/types';

/** Where the plan's work stands on the chart: rows of nodes and accelerators, or of jobs, with bars of time on them. */

export type By = 'node' | 'job';
export interface Bar {
  job: number; name: string; queue: string; state: string; where: string;
  from: number;
  /** The expected end; Infinity when it cannot be told. */
  to: number;
  /** It has not started: from is the foreseen start. */
  waits: boolean;
  confidence: number;
  row: number;
  /** It is no job: room that the calendar keeps for somebody. */
  reserved?: string;
}
/** One bar's name beside those of others. */
export const called = (b: Pick<Bar, 'name' | 'job' | 'reserved'>) => (b.reserved === undefined ? `${b.name} #${b.job}` : b.name);
/** A row without a label goes on with the one above it: what is there at the same time. */
export interface Row { label: string; bars: Bar[] }
export interface Layout { rows: Row[]; bars: Bar[]; lo: number; hi: number }

type Piece = Omit<Bar, 'row'>;

export function layout(plan: Plan, by: By, waiting: string): Layout {
  const now = Date.parse(plan.now);
  const groups = new Map<string, Piece[]>();
  const put = (key: string, p: Piece) => {
    const have = groups.get(key);
    if (have) have.push(p);
    else groups.set(key, [p]);
  };
  for (const r of plan.running) {
    const piece: Piece = {
      job: r.job, name: r.name, queue: r.queue, state: r.state, where: '', waits: false, confidence: 1,
      from: r.since ? Date.parse(r.since) : now, to: r.until ? Math.max(Date.parse(r.until), now) : Infinity,
    };
    const places = new Set((r.placements ?? []).flatMap((p) => (p.accelerators?.length ? p.accelerators.map((a) => `${p.node} · ${a}`) : [p.node])));
    piece.where = [...places].slice(0, 8).join(', ') + (places.size > 8 ? ', …' : '');
    if (by === 'job') put(`${r.name} #${r.job}`, piece);
    else for (const place of places) put(place, piece);
  }
  for (const r of plan.reserved ?? []) {
    const places = new Set(r.places.flatMap((p) => (p.accelerators?.length ? p.accelerators.map((a) => `${p.node} · ${a}`) : [p.node])));
    const piece: Piece = {
      job: 0, name: r.name, queue: r.queue ?? '', state: 'reserved', waits: false, confidence: 1, from: Date.parse(r.from), to: Date.parse(r.to),
      where: [...places].slice(0, 8).join(', ') + (places.size > 8 ? ', …' : ''), reserved: [r.user, r.queue].filter(Boolean).join(', '),
    };
    if (by === 'job') put(r.name, piece);
    else for (const place of places) put(place, piece);
  }
  const order = by === 'node' ? [...groups.keys()].sort((a, b) => a.localeCompare(b, 'en', { numeric: true })) : [...groups.keys()];
  for (const w of plan.waiting) {
    if (!w.earliest) continue;
    const from = Math.max(Date.parse(w.earliest), now);
    const piece: Piece = {
      job: w.job, name: w.name, queue: w.queue, state: 'queued', where: '', waits: true, confidence: w.confidence ?? 0,
      from, to: w.duration_seconds ? from + w.duration_seconds * 1000 : Infinity,
    };
    const key = by === 'node' ? waiting : `${w.name} #${w.job}`;
    if (!groups.has(key)) order.push(key);
    put(key, piece);
  }
  const rows = order.flatMap((key) => lanes(key, groups.get(key)!));
  const bars: Bar[] = [];
  let lo = now, hi = now;
  rows.forEach((row, i) => row.bars.forEach((b) => {
    b.row = i;
    bars.push(b);
    lo = Math.min(lo, b.from);
    // What is reserved for days to come is there to be scrolled to: it does not make all else small.
    if (b.reserved === undefined || b.from < now + day) hi = Math.max(hi, b.to === Infinity ? b.from : b.to);
  }));
  return { rows, bars, lo, hi };
}

/** Puts what overlaps on rows of its own, each on the first that is free. */
function lanes(label: string, pieces: Piece[]): Row[] {
  const rows: Row[] = [];
  const ends: number[] = [];
  for (const p of [...pieces].sort((a, b) => a.from - b.from || a.job - b.job)) {
    let at = ends.findIndex((end) => end <= p.from);
    if (at < 0) {
      at = rows.length;
      rows.push({ label: at === 0 ? label : '', bars: [] });
    }
    rows[at]!.bars.push({ ...p, row: 0 });
    ends[at] = p.to;
  }
  return rows;
}

/** What of the chart is shown: a stretch of time, and how far its rows are scrolled. */
export interface View { from: number; to: number; top: number }

const second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;

/** All that is to come, and as much of what was as there is to come, but ten minutes at least. */
export function fit(l: Layout, now: number): View {
  const ahead = Math.max(l.hi - now, 10 * minute);
  const from = Math.max(l.lo, now - Math.max(ahead, 10 * minute));
  const air = (now + ahead - from) * 0.03;
  return { from: from - air, to: now + ahead + air, top: 0 };
}

/** Zooms about a point, between ten seconds and ten years. */
export function zoom(v: View, about: number, by: number): View {
  const width = Math.min(Math.max((v.to - v.from) * by, 10 * second), 3650 * day);
  const part = (about - v.from) / (v.to - v.from);
  return { ...v, from: about - width * part, to: about + width * (1 - part) };
}

export function pan(v: View, by: number): View {
  return { ...v, from: v.from + by, to: v.to + by };
}

const steps = [second, 5 * second, 15 * second, 30 * second, minute, 5 * minute, 15 * minute, 30 * minute, hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 7 * day, 28 * day, 91 * day, 364 * day];

/** Round times of the reader's own clock, no nearer to each other than apart pixels. */
export function ticks(v: View, width: number, apart = 84): { at: number[]; step: number } {
  const least = ((v.to - v.from) * apart) / Math.max(width, 1);
  const step = steps.find((s) => s >= least) ?? steps.at(-1)!;
  const shift = new Date(v.from).getTimezoneOffset() * minute;
  const at: number[] = [];
  for (let x = Math.ceil((v.from - shift) / step) * step + shift; x <= v.to; x += step) at.push(x);
  return { at, step };
}

/** The first bar of a row that ends after a time: rows are sorted and their bars do not overlap. */
export function firstAfter(bars: Bar[], time: number): number {
  let lo = 0, hi = bars.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (bars[mid]!.to <= time) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}
