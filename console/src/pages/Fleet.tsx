import { useFleet, usePlan } from '../api/queries';
import type { Cap, Node } from '../api/types';
import { bits, bytes, number, percent, watts } from '../format';
import { useT } from '../i18n';
import { Bar, Card, Pill, Problem, SkeletonRows, useTitle } from '../ui/parts';

/** The machines, where they stand and what feeds them, and how near each power cap is. */
export default function Fleet() {
  const { t } = useT();
  useTitle(t('nav.fleet'));
  const fleet = useFleet();
  const nodes = fleet.data?.items ?? [];
  const caps = usePlan().data?.caps ?? [];
  return (
    <>
      {fleet.error && <Problem error={fleet.error} retry={() => void fleet.refetch()} />}
      <Card className="c12" title={t('nav.fleet')} note={<code>lineshaft fleet</code>}>
        <Nodes nodes={nodes} pending={fleet.isPending} />
      </Card>
      <Card className="c12" title={t('fleet.caps')} note={caps.length ? t('fleet.caps.note') : undefined}>
        {caps.length === 0 ? <p className="empty">{t('fleet.caps.none')}</p> : (
          <div className="scroll">
            <table className="t">
              <thead><tr><th>{t('name')}</th><th>{t('fleet.cap.use')}</th><th className="right">{t('fleet.cap.drawn')}</th><th className="right">{t('fleet.cap.limit')}</th><th className="right">{t('fleet.cap.left')}</th><th className="right wide-only">{t('fleet.cap.idle')}</th></tr></thead>
              <tbody>{nested(caps).map(([c, depth]) => <CapRow key={c.name} c={c} depth={depth} />)}</tbody>
            </table>
          </div>
        )}
      </Card>
    </>
  );
}

/** The columns that any node has something for: what nobody wrote down takes no room. */
function Nodes({ nodes, pending }: { nodes: Node[]; pending: boolean }) {
  const { t, lang } = useT();
  const facts = ([
    ['fleet.rack', (n) => n.rack], ['fleet.feed', (n) => n.feed],
    ['fleet.watts', (n) => (n.max_watts || n.idle_watts ? `${n.idle_watts ? watts(n.idle_watts, lang) : '–'} … ${n.max_watts ? watts(n.max_watts, lang) : '–'}` : undefined)],
    ['constraint.bandwidth', (n) => (n.bandwidth ? bits(n.bandwidth, lang) : undefined)],
    ['constraint.storage', (n) => (n.storage ? bytes(n.storage, lang) : undefined)],
  ] as const satisfies readonly (readonly [string, (n: Node) => string | undefined])[]).filter(([, of]) => nodes.some(of));
  return (
    <div className="scroll" tabIndex={0} role="group" aria-label={t('nav.fleet')}>
      <table className="t">
        <thead>
          <tr>
            <th>{t('node')}</th><th>{t('state')}</th><th className="right">{t('constraint.cpu')}</th><th className="right">{t('constraint.memory')}</th><th className="right">{t('constraint.disk')}</th><th>{t('constraint.accelerators')}</th>
            {facts.map(([key]) => <th key={key}>{t(key)}</th>)}
          </tr>
        </thead>
        <tbody>
          {pending ? <SkeletonRows rows={3} columns={6} /> : nodes.map((n) => (
            <tr key={n.name}>
              <td className="mono">{n.name}</td>
              <td title={n.reason}>{n.cordoned ? <Pill shape="square" tone="warn">{t('node.cordoned')}</Pill> : <Pill shape="dot" tone="ok">{t('node.ready')}</Pill>}</td>
              <td className="right num">{number(n.cpu, lang, 1)}</td><td className="right num">{bytes(n.memory, lang)}</td><td className="right num">{bytes(n.disk, lang)}</td>
              <td>{n.accelerators?.length ? devices(n).map((d) => <span key={d} className="tag" style={{ marginRight: 4 }}>{d}</span>) : <span className="dim">{t('node.none')}</span>}</td>
              {facts.map(([key, of]) => <td key={key} className="num">{of(n) ?? <span className="dim">–</span>}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** "8 × H100", one for each model. */
function devices(n: Node): string[] {
  const count = new Map<string, number>();
  for (const a of n.accelerators ?? []) {
    const name = a.model || a.kind || 'GPU';
    count.set(name, (count.get(name) ?? 0) + 1);
  }
  return [...count].map(([name, k]) => `${k} × ${name}`);
}

/** Each cap below the one that it is under. */
function nested(caps: Cap[], parent = '', depth = 0): [Cap, number][] {
  return caps.filter((c) => (c.parent ?? '') === parent).flatMap((c) => [[c, depth] as [Cap, number], ...nested(caps, c.name, depth + 1)]);
}

function CapRow({ c, depth }: { c: Cap; depth: number }) {
  const { t, lang } = useT();
  const use = c.watts ? c.drawn / c.watts : 0;
  return (
    <tr>
      <td style={{ paddingLeft: 15 + depth * 18 }}>{c.name}</td>
      <td><span className="row"><span style={{ width: 'min(260px, 60%)', display: 'flex' }}><Bar wide fraction={use} label={t('fleet.cap.of', { name: c.name })} /></span><span className="num">{percent(use, lang)}</span></span></td>
      <td className="right num">{watts(c.drawn, lang)}</td><td className="right num">{watts(c.watts, lang)}</td><td className="right num">{watts(c.watts - c.drawn, lang)}</td><td className="right num wide-only">{watts(c.idle, lang)}</td>
    </tr>
  );
}
