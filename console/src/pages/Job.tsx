import { Button, Modal } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useParams } from 'react-router';
import { call, post } from '../api/client';
import { useJob, useWhy } from '../api/queries';
import { ended, type Job as Record, type Task } from '../api/types';
import { fullTime, number, percent, seconds, span, value } from '../format';
import { useT } from '../i18n';
import { Asks, Times } from '../ui/asks';
import { Retry, Stop } from '../ui/icons';
import { done, failed } from '../ui/notify';
import { Bar, Card, JobPill, Kpi, Pill, Problem, Skeleton, useNow, useTitle } from '../ui/parts';
import { Reasons } from '../ui/reasons';
import { kind, waits } from '../ui/words';
import { readable, yaml } from '../ui/yaml';
import { values } from './job/Array';
import { Curves } from './job/Curves';
import { Log } from './job/Log';
import { Outlook } from './job/Outlook';
import { Usage } from './job/Usage';

export default function Job() {
  const { t } = useT();
  const id = Number(useParams().id);
  useTitle(`${t('job')} ${id}`);
  const job = useJob(id);
  if (job.error) return <Problem error={job.error} retry={() => void job.refetch()} />;
  const j = job.data;
  if (!j) return <><div className="card" style={{ height: 132 }}><div className="b"><Skeleton height={44} width={260} /></div></div><div className="card c8" style={{ height: 330 }} /><div className="card c4" style={{ height: 330 }} /></>;
  return (
    <>
      <Head j={j} />
      <div className="c8 stack">
        <Curves j={j} />
        <Log j={j} key={`log${j.id}`} />
      </div>
      <div className="c4 stack">
        <WhyCard j={j} />
        <Details j={j} />
      </div>
      <Tasks j={j} />
      <Usage j={j} />
      <Card className="c6" title={t('job.spec')}><pre className="code" tabIndex={0} aria-label={t('job.spec')}>{yaml(readable(j.spec))}</pre></Card>
      <Isolation j={j} className="c6" />
    </>
  );
}

function Head({ j }: { j: Record }) {
  const { t, lang } = useT();
  const now = useNow();
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const act = useMutation({
    mutationFn: (what: 'cancel' | 'retry') => post(`/jobs/${j.id}/${what}`),
    onSuccess: (_, what) => {
      // The stream may have told more than the answer did by now, so the job is read anew.
      void client.invalidateQueries({ queryKey: ['job', j.id] });
      void client.invalidateQueries({ queryKey: ['jobs'] });
      done(what === 'cancel' ? t('job.cancel.done', { id: j.id }) : t('job.retry.done', { id: j.id }));
    },
    onError: (err) => failed(t, err),
    onSettled: () => setAsking(false),
  });
  const p = j.progress;
  return (
    <section className="card" aria-label={j.name}>
      <header style={{ minHeight: 44 }}>
        <h2 className="break">{j.name} <span className="mono dim">#{j.id}</span></h2>
        <JobPill state={j.state} />
        <span className="note">{kind(t, j.kind)} · {j.owner}</span>
        <span className="r">
          {!ended(j.state) && <Button variant="default" leftSection={<Stop size={14} />} disabled={j.state === 'stopping'} onClick={() => setAsking(true)}>{t('cancel')}</Button>}
          {(j.state === 'failed' || j.state === 'canceled') && <Button leftSection={<Retry size={14} />} loading={act.isPending} onClick={() => act.mutate('retry')}>{t('retry')}</Button>}
        </span>
      </header>
      <div className="kpis flush">
        {p ? <Kpi label={t('progress')} value={percent(p.fraction, lang)} sub={<Bar wide fraction={p.fraction} label={t('progress')} />} /> : <Kpi label={t('attempt')} value={number(j.attempt, lang)} sub={t('job.retries', { n: j.retries_left })} />}
        {p ? (
          <>
            <Kpi label={t('epoch')} value={number(p.epoch, lang)} unit={`/ ${number(p.epochs, lang)}`} sub={!ended(j.state) && t('left.short', { v: span(p.eta_seconds, lang) })} />
            <Kpi label={t('loss')} value={value(p.loss, lang)} sub={`${t('validation')} ${value(p.val_loss, lang)}`} />
            <Kpi label={t('accuracy')} value={percent(p.accuracy, lang, 2)} sub={`${t('validation')} ${percent(p.val_accuracy, lang, 2)}`} />
          </>
        ) : (
          <>
            <Kpi label={t('tasks')} value={number(j.tasks?.length ?? 0, lang)} sub={t('job.running', { n: (j.tasks ?? []).filter((x) => x.state === 'running').length })} />
            <Kpi label={t('priority')} value={number(j.priority, lang)} />
          </>
        )}
        <Kpi label={t('duration')} value={span(seconds(j.started, j.finished, now), lang)} sub={j.started ? fullTime(j.started, lang) : t('job.not_started')} />
      </div>
      <Modal opened={asking} onClose={() => setAsking(false)} title={t('job.cancel.title', { name: j.name, id: j.id })} closeButtonProps={{ 'aria-label': t('close') }}>
        <p>{t('job.cancel.text')}</p>
        <div className="dialog-foot">
          <Button variant="default" onClick={() => setAsking(false)}>{t('keep')}</Button>
          <Button color="red" loading={act.isPending} onClick={() => act.mutate('cancel')}>{t('job.cancel')}</Button>
        </div>
      </Modal>
    </section>
  );
}

function WhyCard({ j }: { j: Record }) {
  const { t } = useT();
  const why = useWhy(j.id);
  return (
    <Card title={j.state === 'queued' ? t('why.pending') : t('why')} note={<code>why job/{j.id}</code>}>
      {why.error ? <div className="b"><Problem error={why.error} retry={() => void why.refetch()} /></div>
        : !why.data ? <div className="b" style={{ minHeight: 60 }}><Skeleton height={36} /></div>
          : (
            <>
              <p className="b break">{why.data.summary}</p>
              {!!why.data.reasons?.length && <Reasons reasons={why.data.reasons} />}
              {why.data.outlook && <Outlook o={why.data.outlook} />}
            </>
          )}
    </Card>
  );
}

/** What the machine really enforces on the job's tasks, as `why` tells it. */
function Isolation({ j, className }: { j: Record; className: string }) {
  const { t } = useT();
  const features = useWhy(j.id).data?.isolation ?? [];
  return (
    <Card className={className} title={t('isolation')} note={features.length > 0 && t('isolation.note')}>
      {features.length === 0 ? <p className="empty">{t('isolation.none')}</p> : (
        <ul className="features b">
          {features.map((f) => (
            <li key={f.name}>
              <Pill shape={f.enforced ? 'check' : 'ring'} tone={f.enforced ? 'ok' : 'warn'}><span className="mono">{f.name}</span></Pill>
              <p className="dim">{!f.enforced && f.detail ? `${t('isolation.not')}: ` : ''}{f.detail || (f.enforced ? t('isolation.enforced') : t('isolation.not'))}</p>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function Tasks({ j }: { j: Record }) {
  const { t, lang } = useT();
  const now = useNow();
  const row = (x: Task) => (
    <tr key={x.index}>
      <td className="mono">{x.index}</td>
      <td><JobPill state={x.state} /></td>
      <td>{number(x.attempt, lang)}{!!x.restarts && <span className="dim"> · {t('task.restarts', { n: x.restarts })}</span>}</td>
      <td className="mono">{x.node || '–'}{!!x.accelerators?.length && <span className="dim"> [{x.accelerators.join(', ')}]</span>}</td>
      <td className="mono">{x.pid || '–'}</td>
      <td className="mono">{ended(x.state) ? x.exit_code : '–'}</td>
      <td>{span(seconds(x.started, x.ended, now), lang)}</td>
      <td className="dim break">{x.reason || '–'}</td>
    </tr>
  );
  return (
    <Card title={t('tasks')} right={j.kind === 'service' && !ended(j.state) && <Replicas j={j} />}>
      <div className="scroll">
        <table className="t">
          <thead><tr><th>{t('task')}</th><th>{t('state')}</th><th>{t('attempt')}</th><th>{t('node')}</th><th>{t('task.pid')}</th><th>{t('task.exit')}</th><th>{t('duration')}</th><th>{t('reason')}</th></tr></thead>
          <tbody>{(j.tasks ?? []).map(row)}</tbody>
        </table>
      </div>
    </Card>
  );
}

/** One replica more or less. */
function Replicas({ j }: { j: Record }) {
  const { t, lang } = useT();
  const client = useQueryClient();
  const n = j.spec.tasks ?? j.tasks?.length ?? 1;
  const set = useMutation({
    mutationFn: (replicas: number) => call('PUT', `/jobs/${j.id}/replicas`, { json: { replicas } }),
    onSuccess: () => client.invalidateQueries({ queryKey: ['job', j.id] }),
    onError: (err) => failed(t, err),
  });
  return (
    <span className="row" role="group" aria-label={t('replicas')}>
      <span className="dim">{t('replicas')}</span>
      <Button variant="default" aria-label={t('replicas.less')} disabled={n <= 1 || set.isPending} onClick={() => set.mutate(n - 1)}>−</Button>
      <span className="num">{number(n, lang)}</span>
      <Button variant="default" aria-label={t('replicas.more')} disabled={set.isPending} onClick={() => set.mutate(n + 1)}>+</Button>
    </span>
  );
}

function Details({ j }: { j: Record }) {
  const { t, lang } = useT();
  return (
    <Card title={t('details')}>
      <dl className="facts b">
        <dt>{t('resources')}</dt><dd><Asks spec={j.spec} /></dd>
        <Times spec={j.spec} />
        {j.array && <><dt>{t('array')}</dt><dd><Link to={`/jobs?array=${j.array.id}`}>{t('array.member', { index: j.array.index, last: j.array.count - 1, id: j.array.id })}</Link>{values(j).map(([k, v]) => <span key={k} className="mono dim"> {k}={v}</span>)}</dd></>}
        {!!j.spec.min_tasks && (
          <>
            <dt>{t('tasks')}</dt>
            <dd>
              {t('elastic', { min: number(j.spec.min_tasks, lang), max: number(j.spec.tasks, lang) })}{!!j.size && !ended(j.state) && ` · ${t('elastic.now', { n: number(j.size, lang) })}`}
              {j.resized && <span className="dim"> · {t('elastic.changed', { from: j.resized.from, to: j.resized.to })}: {j.resized.why}</span>}
            </dd>
          </>
        )}
        <dt>{t('created')}</dt><dd>{fullTime(j.created, lang)}</dd>
        {j.started && <><dt>{t('started')}</dt><dd>{fullTime(j.started, lang)}</dd></>}
        {j.finished && <><dt>{t('finished')}</dt><dd>{fullTime(j.finished, lang)}</dd></>}
        <dt>{t('attempt')}</dt><dd>{number(j.attempt, lang)} · {t('job.retries', { n: j.retries_left })}</dd>
        {!!j.spec.data?.length && <><dt>{t('data')}</dt><dd className="mono">{j.spec.data.join(', ')}</dd></>}
        {j.model && <><dt>{t('model')}</dt><dd><Link to={`/models/${encodeURIComponent(j.model.name)}`} className="mono">{j.model.name}:{j.model.version}</Link></dd></>}
        {j.reason && <><dt>{t('reason')}</dt><dd>{waits(t, j)}</dd></>}
      </dl>
    </Card>
  );
}
