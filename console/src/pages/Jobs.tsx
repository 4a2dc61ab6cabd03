import { Button } from '@mantine/core';
import { Link, useNavigate, useSearchParams } from 'react-router';
import { useJobs } from '../api/queries';
import { ended, jobStates, type Job, type JobState, type Member } from '../api/types';
import { number, percent, seconds, span } from '../format';
import { useT } from '../i18n';
import { Plus } from '../ui/icons';
import { Ago, Bar, Card, Empty, JobPill, Problem, SkeletonRows, useNow, useTitle } from '../ui/parts';
import { jobState, kind, waits } from '../ui/words';
import { CancelArray, state as worst, counts } from './job/Array';
import { Plan } from './jobs/Plan';

export default function Jobs() {
  const { t, lang } = useT();
  useTitle(t('nav.jobs'));
  const [params, setParams] = useSearchParams();
  const asked = params.get('state') as JobState | null;
  const state = asked && jobStates.includes(asked) ? asked : '';
  const array = Number(params.get('array')) || 0;
  const jobs = useJobs(state, array);
  const items = jobs.data?.pages.flatMap((p) => p.items ?? []) ?? [];
  const pick = (s: JobState | '') => setParams({ ...(s && { state: s }), ...(array && { array: String(array) }) }, { replace: true });
  return (
    <>
      <Plan />
      <Card
        title={array ? t('array.title', { id: array }) : t('nav.jobs')} note={jobs.data && t('count', { n: number(items.length, lang) + (jobs.hasNextPage ? '+' : '') })}
        right={array ? <><Link to="/jobs">{t('all.jobs')}</Link><CancelArray id={array} /></> : <Button leftSection={<Plus size={14} />} component={Link} to="/jobs/new">{t('submit')}</Button>}
      >
        <div className="filters b" role="group" aria-label={t('jobs.filter')}>
          <button type="button" aria-pressed={state === ''} onClick={() => pick('')}>{t('all')}</button>
          {jobStates.map((s) => <button key={s} type="button" aria-pressed={state === s} onClick={() => pick(s)}>{t(jobState[s])}</button>)}
        </div>
        {jobs.error && <div className="b"><Problem error={jobs.error} retry={() => void jobs.refetch()} /></div>}
        {!jobs.isPending && !jobs.error && items.length === 0 ? (
          <Empty command={state ? `lineshaft jobs --state ${state}` : 'lineshaft submit examples/mnist/train.yaml'}>{state ? t('jobs.empty.state', { state: t(jobState[state]) }) : t('jobs.empty')}</Empty>
        ) : (
          <div className="scroll" style={{ minHeight: 200 }}>
            <table className="t">
              <thead>
                <tr>
                  <th className="right wide-only" style={{ width: 60 }}>{t('id')}</th><th>{t('name')}</th><th>{t('state')}</th><th>{t('progress')}</th>
                  <th className="wide-only">{t('kind')}</th><th className="wide-only">{t('owner')}</th><th className="wide-only">{t('created')}</th><th className="right wide-only">{t('duration')}</th>
                </tr>
              </thead>
              <tbody>{jobs.isPending ? <SkeletonRows rows={6} columns={8} /> : items.map((j) => (j.array?.members ? <Folded key={`a${j.array.id}`} j={j} m={j.array} /> : <Row key={j.id} j={j} />))}</tbody>
            </table>
          </div>
        )}
        {jobs.hasNextPage && <div className="b"><Button variant="default" loading={jobs.isFetchingNextPage} onClick={() => void jobs.fetchNextPage()}>{t('more')}</Button></div>}
      </Card>
    </>
  );
}

/** An array as one line. */
function Folded({ j, m }: { j: Job; m: Member }) {
  const { t, lang } = useT();
  const navigate = useNavigate();
  const to = `/jobs?array=${m.id}`;
  return (
    <tr className="go" onClick={(e) => !(e.target as HTMLElement).closest('a') && navigate(to)}>
      <td className="right mono dim wide-only">{m.id}–{m.id + m.count - 1}</td>
      <td style={{ maxWidth: 260 }} className="clip"><Link to={to} className="name">{j.name}</Link> <span className="dim">{t('array.jobs', { n: number(m.count, lang) })}</span></td>
      <td><JobPill state={worst(m)} /></td>
      <td className="num dim clip">{counts(m, t, lang)}</td>
      <td className="wide-only dim">{kind(t, j.kind)}</td>
      <td className="wide-only">{j.owner}</td>
      <td className="wide-only"><Ago time={j.created} /></td>
      <td className="right wide-only">–</td>
    </tr>
  );
}

function Row({ j }: { j: Job }) {
  const { t, lang } = useT();
  const now = useNow();
  const navigate = useNavigate();
  const p = j.progress;
  return (
    <tr className="go" onClick={(e) => !(e.target as HTMLElement).closest('a') && navigate(`/jobs/${j.id}`)}>
      <td className="right mono dim wide-only">{j.id}</td>
      <td style={{ maxWidth: 260 }} className="clip"><Link to={`/jobs/${j.id}`} className="name">{j.name}{j.array && `[${j.array.index}]`}</Link></td>
      <td><JobPill state={j.state} /></td>
      <td className="num">
        {p ? (
          <span className="row">
            <Bar fraction={p.fraction} label={t('progress')} />
            <span className="dim">{percent(p.fraction, lang)}</span>
            <span className="dim wide-only clip">{ended(j.state) ? t('accuracy.short', { v: percent(p.val_accuracy || p.accuracy, lang, 2) }) : t('left.short', { v: span(p.eta_seconds, lang) })}</span>
          </span>
        ) : <span className="dim clip" style={{ display: 'block', maxWidth: 340 }}>{waits(t, j) || '–'}</span>}
      </td>
      <td className="wide-only dim">{kind(t, j.kind)}</td>
      <td className="wide-only">{j.owner}</td>
      <td className="wide-only"><Ago time={j.created} /></td>
      <td className="right wide-only">{span(seconds(j.started, j.finished, now), lang)}</td>
    </tr>
  );
}
