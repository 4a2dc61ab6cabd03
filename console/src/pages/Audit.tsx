import { Button, Drawer, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useMutation } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { Link, useSearchParams } from 'react-router';
import { get } from '../api/client';
import { useAudit } from '../api/queries';
import type { Entry, Verdict } from '../api/types';
import { moment, fullTime, number } from '../format';
import { useT } from '../i18n';
import { Alert, Check, Shield } from '../ui/icons';
import { Card, Empty, Pill, Problem, SkeletonRows, useTitle } from '../ui/parts';
import { eventName, pageOf } from '../ui/words';

export default function Audit() {
  const { t, lang } = useT();
  useTitle(t('nav.audit'));
  const [params, setParams] = useSearchParams();
  const [actor, setActor] = useState(params.get('actor') ?? '');
  const [action, setAction] = useState(params.get('action') ?? '');
  const [[askedActor, askedAction]] = useDebouncedValue([actor.trim(), action.trim()], 250);
  const audit = useAudit(askedActor!, askedAction!);
  const [shown, show] = useState<Entry>();
  const verify = useMutation({ mutationFn: () => get<Verdict>('/audit/verify') });
  const ask = params.has('verify');
  useEffect(() => {
    if (!ask) return;
    verify.mutate();
    setParams({}, { replace: true });
  }, [ask]);
  const items = audit.data?.pages.flatMap((p) => p.items ?? []) ?? [];
  return (
    <>
      {verify.error && <Problem error={verify.error} retry={() => verify.mutate()} />}
      {verify.data && <Result v={verify.data} lang={lang} />}
      <Card
        title={t('nav.audit')} note={t('audit.note')}
        right={<Button leftSection={<Shield size={14} />} loading={verify.isPending} onClick={() => verify.mutate()}>{t('audit.verify')}</Button>}
      >
        <div className="row wrap b">
          <TextInput size="xs" aria-label={t('audit.actor')} placeholder={t('audit.actor')} value={actor} onChange={(e) => setActor(e.currentTarget.value)} />
          <TextInput size="xs" aria-label={t('audit.action')} placeholder={t('audit.action')} value={action} onChange={(e) => setAction(e.currentTarget.value)} />
          {(actor || action) && <Button variant="default" onClick={() => { setActor(''); setAction(''); }}>{t('clear')}</Button>}
        </div>
        {audit.error ? <div className="b"><Problem error={audit.error} retry={() => void audit.refetch()} /></div>
          : !audit.isPending && !items.length ? <Empty command="lineshaft audit">{askedActor || askedAction ? t('audit.none') : t('audit.empty')}</Empty>
            : (
              <div className="scroll" style={{ minHeight: 300 }}>
                <table className="t">
                  <thead><tr><th className="right">{t('audit.seq')}</th><th>{t('time')}</th><th className="wide-only">{t('audit.actor')}</th><th>{t('audit.action')}</th><th className="wide-only">{t('audit.subject')}</th><th>{t('audit.outcome')}</th></tr></thead>
                  <tbody>{audit.isPending ? <SkeletonRows rows={10} columns={6} /> : items.map((e) => <Row key={e.seq} e={e} open={() => show(e)} />)}</tbody>
                </table>
              </div>
            )}
        {audit.hasNextPage && <div className="b"><Button variant="default" loading={audit.isFetchingNextPage} onClick={() => void audit.fetchNextPage()}>{t('more')}</Button></div>}
      </Card>
      <Drawer
        opened={!!shown} onClose={() => show(undefined)} position="right" size="min(520px, 100%)" closeButtonProps={{ 'aria-label': t('close') }}
        title={shown && t('audit.entry', { seq: shown.seq })}
      >
        {shown && <Detail e={shown} />}
      </Drawer>
    </>
  );
}

function Result({ v, lang }: { v: Verdict; lang: string }) {
  const { t } = useT();
  return (
    <div className={v.ok ? 'problem good' : 'problem'} role="status">
      {v.ok ? <Check size={16} /> : <Alert size={16} />}
      <p>{v.ok ? t('audit.ok', { n: number(v.entries, lang) }) : t('audit.broken', { seq: v.broken ?? 0, message: v.message })}</p>
    </div>
  );
}

function Outcome({ e }: { e: Entry }) {
  const { t } = useT();
  if (e.outcome === 'ok') return <Pill shape="check" tone="ok">{t('audit.outcome.ok')}</Pill>;
  return <Pill shape="cross" tone="bad">{e.outcome === 'denied' ? t('audit.outcome.denied') : e.outcome}</Pill>;
}

function Row({ e, open }: { e: Entry; open: () => void }) {
  const { t, lang } = useT();
  const page = pageOf(e.subject);
  return (
    <tr className="go" onClick={(event) => !(event.target as HTMLElement).closest('a, button') && open()}>
      <td className="right"><button type="button" className="link mono" style={{ margin: 0 }} onClick={open} aria-label={t('audit.entry', { seq: e.seq })}>{e.seq}</button></td>
      <td className="num" style={{ whiteSpace: 'nowrap' }} title={fullTime(e.time, lang)}>{moment(e.time, lang)}</td>
      <td className="wide-only break">{e.actor}</td>
      <td title={e.action}>{eventName(t, e.action)}</td>
      <td className="wide-only mono break">{page ? <Link to={page}>{e.subject}</Link> : e.subject}</td>
      <td><Outcome e={e} /></td>
    </tr>
  );
}

function Detail({ e }: { e: Entry }) {
  const { t, lang } = useT();
  const page = pageOf(e.subject);
  return (
    <div tabIndex={-1} data-autofocus style={{ outline: 'none' }}>
      <dl className="facts">
        <dt>{t('time')}</dt><dd>{fullTime(e.time, lang)}</dd>
        <dt>{t('audit.actor')}</dt><dd>{e.actor}</dd>
        <dt>{t('audit.action')}</dt><dd>{eventName(t, e.action)} <span className="mono dim">{e.action}</span></dd>
        <dt>{t('audit.subject')}</dt><dd className="mono">{page ? <Link to={page}>{e.subject}</Link> : e.subject || '–'}</dd>
        <dt>{t('audit.outcome')}</dt><dd><Outcome e={e} /></dd>
        <dt>{t('audit.hash')}</dt><dd className="mono">{e.hash}</dd>
        <dt>{t('audit.prev')}</dt><dd className="mono">{e.prev || t('audit.first')}</dd>
      </dl>
      <h3 className="sub" style={{ marginTop: 18 }}>{t('audit.detail')}</h3>
      <pre className="code field" tabIndex={0} aria-label={t('audit.detail')}>{e.detail === undefined || e.detail === null ? '–' : JSON.stringify(e.detail, null, 2)}</pre>
    </div>
  );
}
