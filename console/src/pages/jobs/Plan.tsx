import { Link } from 'react-router';
import { useOverview, usePlan } from '../../api/queries';
import type { Amount, Queue, Waiting } from '../../api/types';
import { bytes, number, percent, span } from '../../format';
import { useT } from '../../i18n';
import { Card, useNow } from '../../ui/parts';
import { constraint, waits } from '../../ui/words';
import { Gantt } from './Gantt';
import { part, whole, type Whole } from './shares';

/** What runs until when, who waits in the order of turns, and how the queues share. It is not there while nothing runs. */
export function Plan() {
  const { t, lang } = useT();
  const { data } = usePlan();
  const nodes = useOverview().data?.nodes;
  if (!data || data.running.length + data.waiting.length + (data.reserved?.length ?? 0) === 0) return null;
  const hall = whole(nodes ?? []);
  return (
    <>
      <Gantt plan={data} />
      <Card className="c8" title={t('plan.waiting')} note={data.appraisal ? t('plan.gap.value', { p: percent(data.appraisal.gap, lang, 1) }) : <code>lineshaft queue</code>}>
        {data.rule && <p className="dim" style={{ margin: '0 15px 8px' }}>{t('plan.rule')}: <span className="mono">{data.rule}</span></p>}
        {data.waiting.length === 0 ? <p className="empty">{t('plan.none')}</p> : (
          <div className="scroll" style={{ maxHeight: 320 }} tabIndex={0} role="group" aria-label={t('plan.waiting')}>
            <table className="t">
              <thead>
                <tr>
                  <th className="right" style={{ width: 50 }}>{t('plan.position')}</th><th>{t('name')}</th><th>{t('plan.queue')}</th>
                  <th className="wide-only">{t('plan.since')}</th><th>{t('plan.starts')}</th><th className="wide-only">{t('why')}</th>
                </tr>
              </thead>
              <tbody>{data.waiting.slice(0, 200).map((w) => <Row key={`${w.job}.${w.position}`} w={w} />)}</tbody>
            </table>
          </div>
        )}
      </Card>
      <Card className="c4" title={t('plan.shares')} note={t('plan.shares.note')}>
        <ul className="b queues">{data.queues.map((q) => <Share key={q.name} q={q} hall={hall} />)}</ul>
      </Card>
    </>
  );
}

function Row({ w }: { w: Waiting }) {
  const { t, lang } = useT();
  const now = useNow();
  return (
    <tr>
      <td className="right num">{number(w.position, lang)}</td>
      <td className="clip" style={{ maxWidth: 200 }}><Link to={`/jobs/${w.job}`} className="name">{w.name}</Link> <span className="mono dim">#{w.job}</span></td>
      <td>{w.queue}</td>
      <td className="wide-only num">{span(Math.max(0, (now - Date.parse(w.since)) / 1000), lang)}</td>
      <td className="num" style={{ whiteSpace: 'nowrap' }}>{w.earliest && !w.confidence ? t('plan.starts.after', { span: span(Math.max(0, (Date.parse(w.earliest) - now) / 1000), lang) }) : w.earliest ? <>{t('plan.in', { span: span(Math.max(0, (Date.parse(w.earliest) - now) / 1000), lang) })} <span className="dim">{percent(w.confidence ?? 0, lang)}</span></> : <span className="dim">{t('plan.unknown')}</span>}</td>
      <td className="wide-only dim clip" style={{ maxWidth: 220 }} title={waits(t, w)}>{waits(t, w)}</td>
    </tr>
  );
}

function Share({ q, hall }: { q: Queue; hall: Whole }) {
  const { t, lang } = useT();
  const amount = (a: Amount | undefined) => [
    a?.cpu && t('node.cores', { n: number(a.cpu, lang) }),
    a?.memory && bytes(a.memory, lang),
    a?.accelerators && t('resources.accelerators', { n: number(a.accelerators, lang) }),
  ].filter(Boolean).join(', ');
  const guaranteed = amount(q.guaranteed);
  const limit = amount(q.limit);
  return (
    <li>
      <div className="row"><b>{q.parent ? `${q.parent}/${q.name}` : q.name}</b><span className="dim">{t('plan.share', { share: percent(q.share, lang), resource: constraint(t, q.resource) })}</span></div>
      <ShareBar
        held={q.share} lately={q.lately} guaranteed={part(q.guaranteed, hall, q.resource)} limit={part(q.limit, hall, q.resource)}
        label={[`${q.name}: ${t('plan.share', { share: percent(q.share, lang), resource: constraint(t, q.resource) })}`, guaranteed && t('plan.guaranteed', { amount: guaranteed }), limit && t('plan.limit', { amount: limit })].filter(Boolean).join(', ')}
      />
      <p className="dim">
        {t('plan.counts', { running: q.running, waiting: q.waiting })}
        {q.lately && q.lately >= 0.0005 ? ` · ${t('plan.lately', { share: percent(q.lately, lang, 1) })}` : ''}
        {guaranteed && ` · ${t('plan.guaranteed', { amount: guaranteed })}`}
        {limit && ` · ${t('plan.limit', { amount: limit })}`}
      </p>
      {q.by?.slice(0, 12).map((u) => (
        <p key={u.user} className="row dim user"><span className="clip">{u.user}</span><ShareBar held={u.share} lately={u.lately} guaranteed={undefined} limit={undefined} label={`${u.user}: ${t('plan.share', { share: percent(u.share, lang), resource: constraint(t, u.resource) })}, ${t('plan.lately', { share: percent(u.lately, lang, 1) })}`} /></p>
      ))}
    </li>
  );
}

/** What a queue holds of the hall, a line below for what it used lately, with a mark at what it is sure of and one at what it may hold at most. */
function ShareBar({ held, lately, guaranteed, limit, label }: { held: number; lately: number | undefined; guaranteed: number | undefined; limit: number | undefined; label: string }) {
  const at = (v: number) => `${Math.max(0, Math.min(1, v)) * 100}%`;
  return (
    <span className="share" role="img" aria-label={label}>
      {limit !== undefined && limit < 1 && <i className="beyond" style={{ left: at(limit) }} />}
      <i className="held" style={{ width: at(held) }} />
      {lately ? <i className="lately" style={{ width: at(lately) }} /> : null}
      {guaranteed !== undefined && <i className="sure" style={{ left: at(guaranteed) }} />}
      {limit !== undefined && <i className="most" style={{ left: at(limit) }} />}
    </span>
  );
}
