import { Button } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link } from 'react-router';
import { call, part, post } from '../api/client';
import { useActions, useJobs, useOverview, usePolicies, useServices } from '../api/queries';
import { ended, type Action, type Job, type Node, type Overview as Facts, type Policy } from '../api/types';
import { bytes, moment, fullTime, number, percent, seconds, sized, span, value } from '../format';
import { useT } from '../i18n';
import { Feed } from '../ui/feed';
import { done, failed } from '../ui/notify';
import { ActionPill, Bar, Card, Empty, JobPill, Kpi, Pill, Problem, ServePill, Skeleton, SkeletonRows, useNow, useTitle } from '../ui/parts';
import { mode, verb } from '../ui/words';
import { Curves } from './job/Curves';

export default function Overview() {
  const { t } = useT();
  useTitle(t('nav.overview'));
  const overview = useOverview();
  const facts = overview.data;
  return (
    <>
      {overview.error && <Problem error={overview.error} retry={() => void overview.refetch()} />}
      <Tiles facts={facts} />
      <div className="c8 stack">
        <Running />
        <Nodes facts={facts} />
        <Training />
        <Services />
      </div>
      <div className="c4 stack">
        <Loop />
        <Card title={t('overview.events')}>
          <div className="b" style={{ minHeight: 180 }}>
            {!facts ? <Skeleton height={140} /> : facts.events?.length ? <Feed events={facts.events.slice(0, 8)} /> : <p className="dim">{t('overview.events.empty')}</p>}
          </div>
        </Card>
      </div>
    </>
  );
}

function Tiles({ facts }: { facts: Facts | undefined }) {
  const { t, lang } = useT();
  if (!facts) return <div className="kpis" style={{ height: 83 }} aria-busy="true"><div style={{ padding: 16 }}><Skeleton height={44} width={220} /></div></div>;
  const [memory, unit] = sized(facts.memory_used, lang);
  const jobs = facts.jobs ?? {};
  return (
    <div className="kpis">
      <Kpi label={t('overview.cpu')} value={number(facts.cpu_used, lang, 1)} unit={`/ ${number(facts.cpu_total, lang, 1)}`} sub={percent(facts.cpu_total ? facts.cpu_used / facts.cpu_total : 0, lang)} />
      <Kpi label={t('overview.memory')} value={memory} unit={`${unit} / ${bytes(facts.memory_total, lang)}`} sub={percent(facts.memory_total ? facts.memory_used / facts.memory_total : 0, lang)} />
      <Kpi
        label={t('overview.jobs')} value={number((jobs.running ?? 0) + (jobs.starting ?? 0) + (jobs.stopping ?? 0), lang)} unit={t('overview.running')}
        sub={t('overview.jobs.sub', { queued: number(jobs.queued ?? 0, lang), failed: number(jobs.failed ?? 0, lang) })}
      />
      <Kpi label={t('overview.models')} value={number(facts.models, lang)} sub={t('overview.services', { count: facts.services, n: number(facts.services, lang) })} />
      <Kpi label={t('overview.serving')} value={number(facts.rps, lang, 1)} unit="rps" sub={`p99 ${number(facts.p99_ms, lang, 2)} ms`} />
      <Kpi label={t('overview.actions')} value={number(facts.actions_24h, lang)} sub={t('overview.uptime', { span: span(facts.uptime_seconds, lang) })} />
    </div>
  );
}

function Running() {
  const { t } = useT();
  const jobs = useJobs('');
  const all = jobs.data?.pages.flatMap((p) => p.items ?? []) ?? [];
  const active = all.filter((j) => !ended(j.state)).slice(0, 8);
  const shown = active.length ? active : all.slice(0, 5);
  return (
    <Card title={active.length || jobs.isPending ? t('overview.active') : t('overview.latest')} right={<Link to="/jobs">{t('all.jobs')}</Link>}>
      <div className="scroll" style={{ minHeight: 100 }}>
        {jobs.error && !jobs.data ? <div className="b"><Problem error={jobs.error} retry={() => void jobs.refetch()} /></div>
          : !jobs.isPending && !shown.length ? <Empty command="lineshaft submit examples/mnist/train.yaml">{t('jobs.empty')}</Empty>
            : (
              <table className="t">
                <thead><tr><th>{t('job')}</th><th>{t('state')}</th><th>{t('progress')}</th><th className="wide-only">{t('loss')}</th><th className="wide-only">{t('accuracy')}</th><th className="right wide-only">{t('left')}</th></tr></thead>
                <tbody>{jobs.isPending ? <SkeletonRows rows={4} columns={6} /> : shown.map((j) => <RunningRow key={j.id} j={j} />)}</tbody>
              </table>
            )}
      </div>
    </Card>
  );
}

function RunningRow({ j }: { j: Job }) {
  const { t, lang } = useT();
  const p = j.progress;
  const now = useNow();
  return (
    <tr>
      <td><Link to={`/jobs/${j.id}`} className="name">{j.name}</Link> <span className="mono dim">#{j.id}</span></td>
      <td><JobPill state={j.state} /></td>
      <td>{p ? <span className="row"><Bar fraction={p.fraction} label={t('progress')} /><span className="num dim">{percent(p.fraction, lang)}</span></span> : <span className="dim">{span(seconds(j.started, j.finished, now), lang)}</span>}</td>
      <td className="wide-only">{value(p?.loss, lang)}</td>
      <td className="wide-only">{percent(p?.accuracy, lang, 2)}</td>
      <td className="right wide-only">{p && !ended(j.state) ? span(p.eta_seconds, lang) : '–'}</td>
    </tr>
  );
}

/** The curves of the training that runs, or of the last one. */
function Training() {
  const { t } = useT();
  const jobs = useJobs('').data?.pages.flatMap((p) => p.items ?? []) ?? [];
  const j = jobs.find((x) => x.kind === 'train' && !ended(x.state)) ?? jobs.find((x) => x.kind === 'train' && x.progress);
  if (!j) return null;
  return <Curves key={j.id} j={j} brief={<>{t('curves')} · <Link to={`/jobs/${j.id}`}>{j.name}</Link></>} />;
}

function Services() {
  const { t, lang } = useT();
  const items = useServices().data?.items ?? [];
  if (!items.length) return null;
  return (
    <Card title={t('serving.title')} right={<Link to="/serving">{t('all')}</Link>}>
      <div className="scroll">
        <table className="t">
          <thead><tr><th>{t('model')}</th><th>{t('version')}</th><th className="right">{t('serving.rps')}</th><th className="right">p50</th><th className="right">p99</th><th className="right wide-only">{t('serving.requests')}</th><th className="right wide-only">{t('serving.errors')}</th></tr></thead>
          <tbody>
            {items.map((s) => {
              const v = s.versions?.find((x) => x.version === s.default) ?? s.versions?.find((x) => x.state === 'AVAILABLE') ?? s.versions?.[0];
              return (
                <tr key={s.model}>
                  <td><Link className="name" to={`/serving/${part(s.model)}`}>{s.model}</Link></td>
                  <td>{v ? <span className="row"><span className="mono">{v.version}</span><ServePill state={v.state} failed={!!v.error} /></span> : '–'}</td>
                  <td className="right">{number(s.rps, lang, 1)}</td>
                  <td className="right">{number(s.p50_ms, lang, 2)} <span className="dim">ms</span></td>
                  <td className="right">{number(s.p99_ms, lang, 2)} <span className="dim">ms</span></td>
                  <td className="right wide-only">{number(s.requests, lang)}</td>
                  <td className="right wide-only">{number(s.errors, lang)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

function Loop() {
  const { t, lang } = useT();
  const actions = useActions();
  const policies = usePolicies();
  const items = actions.data?.items ?? [];
  return (
    <Card title={t('loop.title')} note={t('loop.note')}>
      <div className="b" style={{ minHeight: 110 }}>
        {actions.isPending ? <Skeleton height={80} /> : actions.error ? <Problem error={actions.error} retry={() => void actions.refetch()} />
          : items.length === 0 ? <p className="dim">{t('loop.empty')}</p>
            : <ol className="feed">{items.slice(0, 8).map((a) => <ActionRow key={a.id} a={a} lang={lang} />)}</ol>}
        {(policies.data?.items ?? []).map((p) => <PolicyRow key={p.name} p={p} />)}
      </div>
    </Card>
  );
}

function ActionRow({ a, lang }: { a: Action; lang: string }) {
  const { t } = useT();
  const client = useQueryClient();
  const approve = useMutation({
    mutationFn: () => post(`/actions/${part(a.id)}/approve`),
    onSuccess: () => { done(t('loop.approved')); void client.invalidateQueries({ queryKey: ['actions'] }); },
    onError: (err) => failed(t, err),
  });
  return (
    <li style={{ gridTemplateColumns: '74px minmax(0,1fr)' }}>
      <time dateTime={a.time} title={fullTime(a.time, lang)}>{moment(a.time, lang)}</time>
      <div>
        <p><span className="row wrap"><b style={{ fontWeight: 540 }}>{verb(t, a.verb)}</b> <span className="mono">{a.subject}</span><ActionPill state={a.state} /></span></p>
        <p>{a.outcome || a.reasons?.join('; ')}</p>
        {a.state === 'proposed' && <Button mt={6} loading={approve.isPending} onClick={() => approve.mutate()}>{t('approve')}</Button>}
      </div>
    </li>
  );
}

function PolicyRow({ p }: { p: Policy }) {
  const { t } = useT();
  const client = useQueryClient();
  const set = useMutation({
    mutationFn: (m: string) => call('PUT', `/policies/${part(p.name)}`, { json: { mode: m } }),
    onSettled: () => client.invalidateQueries({ queryKey: ['policies'] }),
    onError: (err) => failed(t, err),
  });
  return (
    <div className="policy" title={p.about}>
      <span className="mono clip grow">{p.name}</span>
      <span className="lang" role="group" aria-label={t('loop.mode', { policy: p.name })}>
        {(['off', 'advise', 'act'] as const).map((m) => (
          <button key={m} type="button" aria-pressed={p.mode === m} disabled={set.isPending} onClick={() => p.mode !== m && set.mutate(m)}>{t(mode[m])}</button>
        ))}
      </span>
    </div>
  );
}

function Nodes({ facts }: { facts: Facts | undefined }) {
  const { t } = useT();
  return (
    <Card title={t('overview.nodes')} note={t('overview.nodes.note')}>
      <div className="b" style={{ minHeight: 120 }}>
        {!facts ? <Skeleton height={90} /> : (facts.nodes ?? []).map((n) => <NodeRow key={n.name} n={n} facts={facts} only={facts.nodes!.length === 1} />)}
      </div>
    </Card>
  );
}

function NodeRow({ n, facts, only }: { n: Node; facts: Facts; only: boolean }) {
  const { t, lang } = useT();
  const gpus = n.accelerators ?? [];
  return (
    <div className="node">
      <p className="row wrap">
        <b className="mono break" style={{ fontWeight: 600 }}>{n.name}</b>
        {n.cordoned ? <Pill shape="square" tone="warn">{t('node.cordoned')}</Pill> : <Pill shape="dot" tone="ok">{t('node.ready')}</Pill>}
        {n.reason && <span className="dim">{n.reason}</span>}
      </p>
      <dl className="facts">
        <dt>{t('constraint.cpu')}</dt>
        <dd>{only ? <Usage used={facts.cpu_used} total={n.cpu} text={t('node.cpu', { used: number(facts.cpu_used, lang, 1), total: number(n.cpu, lang, 1) })} label={t('overview.cpu')} /> : t('node.cores', { n: number(n.cpu, lang, 1) })}</dd>
        <dt>{t('constraint.memory')}</dt>
        <dd>{only ? <Usage used={facts.memory_used} total={n.memory} text={`${bytes(facts.memory_used, lang)} / ${bytes(n.memory, lang)}`} label={t('overview.memory')} /> : bytes(n.memory, lang)}</dd>
        <dt>{t('constraint.disk')}</dt><dd>{bytes(n.disk, lang)}</dd>
        <dt>{t('constraint.accelerators')}</dt>
        <dd>{gpus.length ? gpus.map((g) => <span key={g.id} className="tag" style={{ marginRight: 4 }}>{g.id} {g.model}</span>) : <span className="dim">{t('node.none')}</span>}</dd>
      </dl>
    </div>
  );
}

function Usage({ used, total, text, label }: { used: number; total: number; text: string; label: string }) {
  return <span className="row"><span style={{ width: 'min(220px, 40%)', display: 'flex' }}><Bar wide fraction={total ? used / total : 0} label={label} /></span><span className="num">{text}</span></span>;
}
