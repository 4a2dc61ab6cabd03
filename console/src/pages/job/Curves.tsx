import { useMemo, type ReactNode } from 'react';
import { useMetrics } from '../../api/queries';
import type { Job, Metric } from '../../api/types';
import { percent, value } from '../../format';
import { useT, type Key } from '../../i18n';
import { Chart, type Series } from '../../ui/Chart';
import { Card, Empty, Problem, Skeleton } from '../../ui/parts';

interface Plot { name: string; x: number[]; series: Series[]; share: boolean; epochs: boolean }

const known: Record<string, Key> = { loss: 'loss', accuracy: 'accuracy', epoch_seconds: 'epoch_seconds' };

/** Gathers points into plots: a name and its val_ name share one. x is the epoch where every point is the only one of its epoch, else the step. */
export function plots(points: Metric[], training: string, validation: string): Plot[] {
  const byName = new Map<string, Metric[]>();
  for (const p of points) byName.set(p.name, [...(byName.get(p.name) ?? []), p]);
  const groups = new Map<string, string[]>();
  for (const name of byName.keys()) {
    const base = name.replace(/^val_/, '');
    groups.set(base, [...(groups.get(base) ?? []), name]);
  }
  const order = (n: string) => (n === 'loss' ? 0 : n === 'accuracy' ? 1 : 2);
  return [...groups].sort(([a], [b]) => order(a) - order(b) || a.localeCompare(b)).map(([base, names]) => {
    const epochs = names.every((n) => {
      const seen = new Set<number>();
      return byName.get(n)!.every((p) => p.epoch > 0 && !seen.has(p.epoch) && seen.add(p.epoch));
    });
    const at = (p: Metric) => (epochs ? p.epoch : p.step);
    const x = [...new Set(names.flatMap((n) => byName.get(n)!.map(at)))].sort((a, b) => a - b);
    const series = names.sort().map((n): Series => {
      const values = new Map(byName.get(n)!.map((p) => [at(p), p.value]));
      const val = n.startsWith('val_');
      return {
        name: names.length > 1 || val ? (val ? validation : training) : base, colour: val ? '--warn' : '--accent', dash: val,
        values: x.map((i) => values.get(i) ?? null),
      };
    });
    return { name: base, x, series, share: base === 'accuracy', epochs };
  });
}

/** The curves of a job; `brief` is for a page that is not the job's own: the main two, under another title. */
export function Curves({ j, className, brief }: { j: Job; className?: string; brief?: ReactNode }) {
  const { t, lang } = useT();
  const metrics = useMetrics(j.id);
  const all = useMemo(() => plots(metrics.data ?? [], t('training'), t('validation')), [metrics.data, t, lang]);
  const shown = brief ? all.slice(0, 2) : all;
  return (
    <Card {...(className && { className })} title={brief ?? (j.kind === 'train' ? t('curves') : t('metrics'))} note={shown.length > 0 && (shown[0]!.epochs ? t('curves.epochs') : t('curves.steps'))}>
      {metrics.error ? <div className="b"><Problem error={metrics.error} retry={() => void metrics.refetch()} /></div>
        : metrics.isPending ? <div className="b" style={{ minHeight: 290 }}><Skeleton height={240} /></div>
          : shown.length === 0 ? <Empty command={`lineshaft logs -f ${j.id}`}>{j.kind === 'train' ? t('curves.soon') : t('curves.empty')}</Empty>
            : (
              <div className="curves b">
                {shown.map((p) => (
                  <div key={p.name}>
                    <h3 className="sub">{known[p.name] ? t(known[p.name]!) : p.name}</h3>
                    <Chart
                      x={p.x} series={p.series.map((s) => (s.name === p.name && known[s.name] ? { ...s, name: t(known[s.name]!) } : s))} height={220} label={known[p.name] ? t(known[p.name]!) : p.name}
                      format={p.share ? (v) => percent(v, lang, 2) : (v) => value(v, lang)} {...(p.share && { tick: (v: number) => percent(v, lang, 1) })} xLabel={p.epochs ? t('epoch') : t('step')}
                    />
                  </div>
                ))}
              </div>
            )}
    </Card>
  );
}
