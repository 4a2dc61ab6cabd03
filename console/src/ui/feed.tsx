import { Link } from 'react-router';
import type { Event } from '../api/types';
import { moment, fullTime } from '../format';
import { useT } from '../i18n';
import { Mark } from './parts';
import { eventName, jobState, outcome, pageOf, tone } from './words';

const shapes = { ok: 'check', bad: 'cross', run: 'dot', warn: 'square', none: 'ring' } as const;

/** What happened, newest first. */
export function Feed({ events }: { events: Event[] }) {
  const { t, lang } = useT();
  return (
    <ol className="feed">
      {events.map((e) => {
        const page = pageOf(e.subject);
        const kind = tone(e);
        const end = outcome(e);
        return (
          <li key={e.seq}>
            <time dateTime={e.time} title={fullTime(e.time, lang)}>{moment(e.time, lang)}</time>
            <span className="dot"><Mark shape={shapes[kind]} tone={kind} /></span>
            <div>
              <p>{end ? t('event.ended', { state: t(jobState[end]) }) : eventName(t, e.kind)} {page ? <Link to={page} className="mono">{e.subject}</Link> : <span className="mono">{e.subject}</span>}</p>
              <p>{e.actor}</p>
            </div>
          </li>
        );
      })}
    </ol>
  );
}
