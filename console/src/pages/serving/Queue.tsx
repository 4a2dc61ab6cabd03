import type { ServeQueue } from '../../api/types';
import { number, percent } from '../../format';
import { useT } from '../../i18n';
import { Card, Kpi } from '../../ui/parts';

/** What waits before a model, how its requests were joined, and which were refused. */
export function QueueCard({ q }: { q: ServeQueue }) {
  const { t, lang } = useT();
  const sizes = q.sizes ?? [];
  const most = Math.max(1, ...sizes);
  const refused = q.shed_full + q.shed_late;
  return (
    <Card title={t('queue')} note={t('queue.batches', { n: number(q.batches, lang) })}>
      <div className="kpis flush">
        <Kpi label={t('queue.waiting')} value={number(q.waiting, lang)} />
        <Kpi label={t('queue.mean')} value={q.batches ? number(q.mean_rows, lang, 1) : undefined} />
        <Kpi label={t('queue.wait')} value={q.batches ? `${number(q.wait_p50_ms, lang, 2)} · ${number(q.wait_p99_ms, lang, 2)}` : undefined} unit="ms" />
        <Kpi label={t('queue.shed')} value={number(refused, lang)} sub={refused ? t('queue.shed.of', { full: number(q.shed_full, lang), late: number(q.shed_late, lang) }) : undefined} />
        <Kpi label={t('queue.left')} value={number(q.left, lang)} />
      </div>
      <div className="b">
        <h3 className="sub">{t('queue.sizes')}</h3>
        {!q.batches ? <p className="dim">{t('queue.none')}</p> : (
          <ol className="sizes">
            {sizes.map((n, i) => <li key={i} title={number(n, lang)}><b style={{ height: `${(100 * n) / most}%` }} /><span className="num">{rows(i)}</span><span className="dim num">{percent(n / q.batches, lang)}</span></li>)}
          </ol>
        )}
      </div>
    </Card>
  );
}

/** The sizes that a bar counts: 1, 2, 3–4, 5–8, … */
export function rows(bar: number): string {
  if (bar < 2) return String(bar + 1);
  return `${2 ** (bar - 1) + 1}–${2 ** bar}`;
}
