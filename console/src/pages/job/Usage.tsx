import { useUsage } from '../../api/queries';
import type { Job, Use } from '../../api/types';
import { bits, bytes, number, percent } from '../../format';
import { useT } from '../../i18n';
import { Card } from '../../ui/parts';
import { constraint } from '../../ui/words';

type What = 'cpu' | 'memory' | 'disk' | 'storage' | 'bandwidth';

/** What the running tasks use of what they are granted, within what they were promised. */
export function Usage({ j }: { j: Job }) {
  const { t } = useT();
  const uses = useUsage(j.id, j.state === 'running').data?.items ?? [];
  if (j.state !== 'running' || uses.length === 0) return null;
  return (
    <Card title={t('usage')} note={t('usage.note')}>
      <div className="scroll">
        <table className="t">
          <thead><tr><th>{t('task')}</th><th>{t('resources')}</th><th /><th>{t('usage.used')}</th><th>{t('usage.granted')}</th><th>{t('usage.promised')}</th></tr></thead>
          <tbody>{uses.flatMap((u) => (['cpu', 'memory', 'disk', 'storage', 'bandwidth'] as What[]).map((what) => <Row key={`${u.task}${what}`} u={u} what={what} />))}</tbody>
        </table>
      </div>
    </Card>
  );
}

function Row({ u, what }: { u: Use; what: What }) {
  const { t, lang } = useT();
  const promised = u.promise[what] ?? 0;
  if (!promised && what !== 'cpu') return null;
  const granted = u.grant[what] ?? promised;
  const used = what === 'bandwidth' ? Math.max(u.used.send, u.used.receive) : u.used[what];
  const print = (v: number) => (what === 'cpu' ? t('node.cores', { n: number(v, lang, 2) }) : what === 'bandwidth' ? bits(v, lang) : bytes(v, lang));
  const whole = Math.max(promised, granted, used, Number.MIN_VALUE);
  const label = t('usage.bar', { used: print(used), granted: print(granted), promised: print(promised) });
  const held = what === 'cpu' && u.used.throttled > 0.01;
  return (
    <tr>
      <td className="mono">{u.task}</td>
      <td>{constraint(t, what)}</td>
      <td style={{ width: '40%' }}>
        <span className="bar wide use" role="img" aria-label={label} title={label}>
          <i className="granted" style={{ width: `${(100 * granted) / whole}%` }} />
          <i style={{ width: `${(100 * used) / whole}%` }} />
          <b style={{ left: `calc(${(100 * promised) / whole}% - 2px)` }} />
        </span>
      </td>
      <td className="mono">{print(used)}{held && <span className="dim"> · {t('usage.throttled', { p: percent(u.used.throttled, lang) })}</span>}</td>
      <td className="mono">{u.fixed.includes(what) ? <span className="dim">{t('usage.fixed')}</span> : print(granted)}</td>
      <td className="mono">{print(promised)}</td>
    </tr>
  );
}
