import { Button } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { useNavigate } from 'react-router';
import { call } from '../api/client';
import type { Job } from '../api/types';
import { number } from '../format';
import { useT } from '../i18n';
import { Asks, Times } from '../ui/asks';
import { Check } from '../ui/icons';
import { Card, Command, Problem, Skeleton, useTitle } from '../ui/parts';
import { Reasons } from '../ui/reasons';
import { kind, waits, words } from '../ui/words';
import { Outlook } from './job/Outlook';
import { Editor, placeIn } from './submit/Editor';
import { samples } from './submit/samples';

/** Writes a job's specification; the server checks it while it is written and says what would happen. */
export default function Submit() {
  const { t } = useT();
  useTitle(t('submit.title'));
  const navigate = useNavigate();
  const client = useQueryClient();
  const [text, setText] = useState(() => sessionStorage.getItem('lineshaft.draft') ?? samples.train);
  const [preview, setPreview] = useState<Job>();
  const [error, setError] = useState<unknown>();
  const [checking, setChecking] = useState(true);
  const [sending, setSending] = useState(false);
  const round = useRef(0);

  useEffect(() => {
    sessionStorage.setItem('lineshaft.draft', text);
    const mine = ++round.current;
    const stop = new AbortController();
    setChecking(true);
    const timer = setTimeout(async () => {
      try {
        const job = await send(text, true, stop.signal);
        if (mine === round.current) { setPreview(job); setError(undefined); }
      } catch (err) {
        if (mine === round.current && !stop.signal.aborted) { setError(err); setPreview(undefined); }
      } finally {
        if (mine === round.current) setChecking(false);
      }
    }, 450);
    return () => { clearTimeout(timer); stop.abort(); };
  }, [text]);

  const submit = async () => {
    setSending(true);
    try {
      const job = await send(text, false);
      sessionStorage.removeItem('lineshaft.draft');
      void client.invalidateQueries({ queryKey: ['jobs'] });
      void navigate(job.array ? `/jobs?array=${job.array.id}` : `/jobs/${job.id}`);
    } catch (err) {
      setError(err);
      setPreview(undefined);
      setSending(false);
    }
  };
  const place = error !== undefined ? placeIn(words(t, error)) : undefined;
  return (
    <>
      <Card
        className="c7" title={t('submit.spec')} note="YAML · JSON"
        right={
          <>
            <span className="dim wide-only">{t('submit.sample')}</span>
            {(['train', 'command', 'service'] as const).map((s) => <Button key={s} variant="default" onClick={() => setText(samples[s])}>{kind(t, s)}</Button>)}
          </>
        }
      >
        <Editor text={text} change={setText} submit={() => void submit()} {...(place && { place })} />
        <div className="dialog-foot b" style={{ marginTop: 0 }}>
          <span className="dim grow wide-only">{t('submit.key')}</span>
          <Button loading={sending} disabled={error !== undefined} onClick={() => void submit()}>{t('submit')}</Button>
        </div>
      </Card>
      <Card className="c5" title={t('submit.preview')} note={checking ? t('submit.checking') : undefined}>
        <div style={{ minHeight: 240 }} aria-live="polite" aria-busy={checking}>
          {error !== undefined ? <div className="b"><Problem error={error} />{place && <p className="dim" style={{ marginTop: 8 }}>{t('submit.place', { line: place.line, column: place.column })}</p>}</div>
            : preview ? <Preview j={preview} /> : <div className="b"><Skeleton height={120} /></div>}
        </div>
        <div className="b" style={{ marginTop: 'auto' }}><Command text="lineshaft submit --dry-run train.yaml" /></div>
      </Card>
    </>
  );
}

const send = (text: string, dry: boolean, signal?: AbortSignal) =>
  call<Job>('POST', dry ? '/jobs?dry_run=true' : '/jobs', { raw: text, type: text.trimStart().startsWith('{') ? 'application/json' : 'application/yaml', ...(signal && { signal }) });

function Preview({ j }: { j: Job }) {
  const { t, lang } = useT();
  return (
    <>
      <div className="b"><div className="problem good"><Check size={16} /><p>{j.reasons?.length ? t('submit.queued', { why: waits(t, j) }) : j.reason || t('submit.valid')}</p></div></div>
      {!!j.reasons?.length && <Reasons reasons={j.reasons} />}
      {j.outlook && <Outlook o={j.outlook} />}
      <dl className="facts b">
        <dt>{t('name')}</dt><dd>{j.name}</dd>
        <dt>{t('kind')}</dt><dd>{kind(t, j.kind)}</dd>
        <dt>{t('tasks')}</dt><dd>{j.spec.min_tasks ? t('elastic', { min: number(j.spec.min_tasks, lang), max: number(j.spec.tasks, lang) }) : number(j.tasks?.length ?? j.spec.tasks ?? 1, lang)}</dd>
        {j.array && <><dt>{t('array')}</dt><dd>{t('array.jobs', { n: number(j.array.count, lang) })}{!!j.spec.array?.limit && ` · ${t('array.limit', { n: number(j.spec.array.limit, lang) })}`}</dd></>}
        <dt>{t('resources')}</dt><dd><Asks spec={j.spec} /></dd>
        <Times spec={j.spec} />
        {!!j.spec.data?.length && <><dt>{t('data')}</dt><dd className="mono">{j.spec.data.join(', ')}</dd></>}
        {j.spec.register && <><dt>{t('model')}</dt><dd className="mono">{j.spec.register}</dd></>}
      </dl>
    </>
  );
}
