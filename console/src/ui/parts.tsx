import { Button, CopyButton } from '@mantine/core';
import { useEffect, useId, useSyncExternalStore, type ReactNode } from 'react';
import type { ActionState, JobState, ServeState } from '../api/types';
import { ago, fullTime } from '../format';
import { useT, type Key } from '../i18n';
import { Alert, Check, Copy } from './icons';
import { actionState, jobState, serveState, words } from './words';

/** The small parts of which every page is made. */

type Shape = 'ring' | 'dot' | 'arc' | 'check' | 'cross' | 'dash' | 'square';
type Tone = 'run' | 'ok' | 'warn' | 'bad' | 'none';
const colours: Record<Tone, string> = { run: 'var(--run)', ok: 'var(--ok)', warn: 'var(--warn)', bad: 'var(--bad)', none: 'var(--ink3)' };

/** A state's mark. The shape says as much as the colour. */
export function Mark({ shape, tone }: { shape: Shape; tone: Tone }) {
  const c = colours[tone];
  const line = { fill: 'none', stroke: c, strokeWidth: 1.7, strokeLinecap: 'round' as const };
  return (
    <svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
      {shape === 'ring' && <circle cx="5" cy="5" r="3.6" {...line} strokeWidth={1.5} />}
      {shape === 'dot' && <circle cx="5" cy="5" r="4" fill={c} />}
      {shape === 'arc' && <path className="spin" d="M5 1.2a3.8 3.8 0 1 1-3.8 3.8" {...line} />}
      {shape === 'check' && <path d="M1.5 5.4 4 7.8 8.5 2.4" {...line} />}
      {shape === 'cross' && <path d="m2 2 6 6m0-6L2 8" {...line} />}
      {shape === 'dash' && <path d="M1.6 5h6.8" {...line} />}
      {shape === 'square' && <rect x="1.5" y="1.5" width="7" height="7" rx="1" fill={c} />}
    </svg>
  );
}

export function Pill({ shape, tone, children }: { shape: Shape; tone: Tone; children: ReactNode }) {
  return <span className="pill"><Mark shape={shape} tone={tone} />{children}</span>;
}

const jobMarks: Record<JobState, [Shape, Tone]> = {
  queued: ['ring', 'none'], starting: ['arc', 'run'], running: ['dot', 'run'], stopping: ['square', 'warn'],
  succeeded: ['check', 'ok'], failed: ['cross', 'bad'], canceled: ['dash', 'none'],
};
const serveMarks: Record<ServeState, [Shape, Tone]> = {
  START: ['ring', 'none'], LOADING: ['arc', 'run'], AVAILABLE: ['dot', 'ok'], UNLOADING: ['square', 'warn'], END: ['dash', 'none'],
};
const actionMarks: Record<ActionState, [Shape, Tone]> = {
  proposed: ['square', 'warn'], decided: ['ring', 'run'], applied: ['arc', 'run'], verified: ['check', 'ok'], failed: ['cross', 'bad'],
};

function Stated({ mark, word, raw }: { mark: [Shape, Tone] | undefined; word: Key | undefined; raw: string }) {
  const { t } = useT();
  const [shape, tone] = mark ?? ['ring', 'none'];
  return <Pill shape={shape} tone={tone}>{word ? t(word) : raw}</Pill>;
}
export const JobPill = ({ state }: { state: JobState }) => <Stated mark={jobMarks[state]} word={jobState[state]} raw={state} />;
export const ActionPill = ({ state }: { state: ActionState }) => <Stated mark={actionMarks[state]} word={actionState[state]} raw={state} />;
export function ServePill({ state, failed }: { state: ServeState; failed?: boolean }) {
  if (failed) return <Stated mark={['cross', 'bad']} word="serve.failed" raw={state} />;
  return <Stated mark={serveMarks[state]} word={serveState[state]} raw={state} />;
}

export function Card({ title, note, right, className, children, label }: {
  title?: ReactNode; note?: ReactNode; right?: ReactNode; className?: string; children: ReactNode; label?: string;
}) {
  const id = useId();
  return (
    <section className={`card ${className ?? ''}`} aria-labelledby={title ? id : undefined} aria-label={label}>
      {title && (
        <header>
          <h2 id={id}>{title}</h2>
          {note && <span className="note">{note}</span>}
          {right && <span className="r">{right}</span>}
        </header>
      )}
      {children}
    </section>
  );
}

export function Kpi({ label, value, unit, sub }: { label: string; value: ReactNode; unit?: ReactNode; sub?: ReactNode }) {
  return (
    <dl className="kpi">
      <dt>{label}</dt>
      <dd className="v">{value ?? '–'}{unit && <small> {unit}</small>}</dd>
      <dd className="s">{sub}</dd>
    </dl>
  );
}

export function Bar({ fraction, label, wide }: { fraction: number; label: string; wide?: boolean }) {
  const share = Math.max(0, Math.min(1, fraction || 0));
  return (
    <span className={wide ? 'bar wide' : 'bar'} role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share * 100)}>
      <i style={{ width: `${share * 100}%` }} />
    </span>
  );
}

/** A command to copy: what the console shows, the command line can do. */
export function Command({ text }: { text: string }) {
  const { t } = useT();
  return (
    <span className="cmd">
      <code>{text}</code>
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <button type="button" className="icon" onClick={copy} aria-label={copied ? t('copied') : t('copy.command')}>
            {copied ? <Check size={14} /> : <Copy size={14} />}
          </button>
        )}
      </CopyButton>
    </span>
  );
}

export function Empty({ children, command }: { children: ReactNode; command?: string }) {
  return (
    <div className="empty">
      <p>{children}</p>
      {command && <Command text={command} />}
    </div>
  );
}

/** What went wrong, and the way to try again. */
export function Problem({ error, retry }: { error: unknown; retry?: () => void }) {
  const { t } = useT();
  return (
    <div className="problem" role="alert">
      <Alert size={16} />
      <p className="grow">{words(t, error)}</p>
      {retry && <Button variant="default" onClick={retry}>{t('try_again')}</Button>}
    </div>
  );
}

export const Skeleton = ({ width = '100%', height = 14 }: { width?: number | string; height?: number | string }) =>
  <span className="skeleton" style={{ width, height }} />;

/** Rows as high as the real ones, so that nothing moves when they come. */
export function SkeletonRows({ rows, columns }: { rows: number; columns: number }) {
  return Array.from({ length: rows }, (_, r) => (
    <tr key={r} aria-hidden="true">
      {Array.from({ length: columns }, (_, c) => <td key={c}><Skeleton width={`${45 + ((r * 31 + c * 17) % 45)}%`} height={10} /></td>)}
    </tr>
  ));
}

/** One clock for all relative times of the page. */
const clock = (() => {
  let now = Date.now();
  let timer: ReturnType<typeof setInterval> | undefined;
  const listeners = new Set<() => void>();
  return {
    subscribe(f: () => void) {
      listeners.add(f);
      timer ??= setInterval(() => { now = Date.now(); listeners.forEach((l) => l()); }, 1000);
      return () => {
        listeners.delete(f);
        if (!listeners.size) { clearInterval(timer); timer = undefined; }
      };
    },
    now: () => now,
  };
})();
export const useNow = () => useSyncExternalStore(clock.subscribe, clock.now);

export function Ago({ time }: { time?: string | undefined }) {
  const { lang } = useT();
  const now = useNow();
  if (!time || time.startsWith('0001')) return <span className="dim">–</span>;
  return <time dateTime={time} title={fullTime(time, lang)}>{ago(time, lang, now)}</time>;
}

export function useTitle(title: string) {
  useEffect(() => { document.title = `${title} · Lineshaft`; }, [title]);
}
