import { Button, Modal, NativeSelect, NumberInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { call, part } from '../../api/client';
import { useModel } from '../../api/queries';
import type { Release, ReleaseMode, ReleaseTest, Service } from '../../api/types';
import { number, percent, value } from '../../format';
import { useT, type Key } from '../../i18n';
import { done } from '../../ui/notify';
import { Ago, Bar, Card, Empty, Pill, Problem } from '../../ui/parts';
import { Versions, useDialog } from './Dialogs';

const modes: Record<ReleaseMode, { name: Key; text: Key }> = {
  canary: { name: 'release.canary', text: 'release.canary.text' },
  split: { name: 'release.split', text: 'release.split.text' },
  'blue-green': { name: 'release.blue-green', text: 'release.blue-green.text' },
  shadow: { name: 'release.shadow', text: 'release.shadow.text' },
};
const calls = {
  wait: { word: 'verdict.wait', shape: 'ring', tone: 'none' }, advance: { word: 'verdict.advance', shape: 'check', tone: 'ok' }, promote: { word: 'verdict.promote', shape: 'check', tone: 'ok' },
  roll_back: { word: 'verdict.roll_back', shape: 'cross', tone: 'bad' }, hold: { word: 'verdict.hold', shape: 'square', tone: 'warn' },
} as const;
const tests: Record<string, Key> = { errors: 'test.errors', median: 'test.median', tail: 'test.tail' };
const ends = { promoted: 'release.ended.promoted', rolled_back: 'release.ended.rolled_back', replaced: 'release.ended.replaced' } as const;

/** How a model goes from one version to another, and back. */
export function ReleaseCard({ s }: { s: Service }) {
  const { t } = useT();
  const start = useDialog();
  const latest = useModel(s.model).data?.latest ?? 0;
  const r = s.release;
  const last = s.last_release;
  return (
    <Card
      title={t('release')} note={r ? t(modes[r.mode].name) : undefined}
      right={r ? <End s={s} r={r} /> : latest > 1 && <Button variant="default" onClick={start.show}>{t('release.start')}</Button>}
    >
      {r ? <UnderWay s={s} r={r} /> : last ? (
        <div className="b"><p>{t(ends[last.outcome], { v: last.release.candidate })} <span className="dim"><Ago time={last.time} /></span></p>{last.reasons?.map((text) => <p key={text} className="dim">{text}</p>)}</div>
      ) : <Empty command={`lineshaft deploy ${s.model}:${latest || 'VERSION'} --canary 10%`}>{t('release.none')}</Empty>}
      {start.open && <Start s={s} latest={latest} close={start.hide} />}
    </Card>
  );
}

function UnderWay({ s, r }: { s: Service; r: Release }) {
  const { t, lang } = useT();
  return (
    <div className="b stack">
      {r.mode === 'blue-green' ? <Switch s={s} r={r} /> : <Share key={r.percent} s={s} r={r} />}
      {!!r.steps?.length && (
        <p className="row wrap"><span className="dim">{t('release.steps')}</span>{r.steps.map((p) => <span key={p} className="tag" aria-current={p === r.percent ? 'step' : undefined}>{percent(p / 100, lang)}</span>)}</p>
      )}
      {r.verdict && <Verdict r={r} v={r.verdict} />}
      {r.copies && <Copies r={r} c={r.copies} />}
    </div>
  );
}

function useMove(s: Service, r: Release) {
  const { t, lang } = useT();
  const client = useQueryClient();
  return useMutation({
    mutationFn: (to: number) => call('PUT', `/services/${part(s.model)}/release`, { json: { percent: to } }),
    onSuccess: (_, to) => {
      done(t('release.moved', { p: percent(to / 100, lang), v: r.candidate }));
      void client.invalidateQueries({ queryKey: ['services'] });
    },
  });
}

/** What a share would mean for the requests that come now. */
function preview(t: ReturnType<typeof useT>['t'], lang: string, s: Service, r: Release, to: number): string {
  if (r.mode === 'shadow') return t('release.preview.shadow', { rps: number(s.rps, lang, 1), n: number(s.rps * to / 100, lang, 1), v: r.candidate });
  if (s.rps < 1) return t('release.preview.idle', { n: number(to, lang), v: r.candidate });
  return t('release.preview', { rps: number(s.rps, lang, 1), n: number(s.rps * to / 100, lang, 1), rest: number(s.rps * (1 - to / 100), lang, 1), v: r.candidate, w: r.stable });
}

function Share({ s, r }: { s: Service; r: Release }) {
  const { t, lang } = useT();
  const [to, setTo] = useState(r.percent);
  const move = useMove(s, r);
  const label = t(r.mode === 'shadow' ? 'release.copied' : 'release.share', { v: r.candidate });
  return (
    <form className="share-of" onSubmit={(e) => { e.preventDefault(); move.mutate(to); }}>
      <div className="row wrap">
        <label htmlFor="share">{label}</label>
        <output className="num" htmlFor="share">{percent(to / 100, lang)}</output>
        {to !== r.percent && <span className="dim num">{percent(r.percent / 100, lang)} → {percent(to / 100, lang)}</span>}
      </div>
      <input id="share" type="range" min={0} max={r.mode === 'canary' && r.rule ? 99 : 100} step={1} value={to} onChange={(e) => setTo(Number(e.currentTarget.value))} aria-valuetext={percent(to / 100, lang)} />
      <div className="split" aria-hidden="true"><i style={{ flexGrow: 100 - (r.mode === 'shadow' ? 0 : to) }}>{r.stable}</i>{to > 0 && <b style={{ flexGrow: to }} className={r.mode === 'shadow' ? 'copy' : ''}>{r.candidate}</b>}</div>
      <p className="dim" aria-live="polite">{preview(t, lang, s, r, to)}</p>
      {move.error && <Problem error={move.error} />}
      {to !== r.percent && (
        <div className="row">
          <Button type="submit" loading={move.isPending}>{t('release.apply', { p: percent(to / 100, lang) })}</Button>
          <Button variant="default" onClick={() => setTo(r.percent)}>{t('release.reset')}</Button>
        </div>
      )}
    </form>
  );
}

function Switch({ s, r }: { s: Service; r: Release }) {
  const { t } = useT();
  const move = useMove(s, r);
  const on = r.percent === 100;
  return (
    <div className="share-of">
      <div className="split" aria-hidden="true">{on ? <b style={{ flexGrow: 1 }}>{r.candidate}</b> : <i style={{ flexGrow: 1 }}>{r.stable}</i>}</div>
      {move.error && <Problem error={move.error} />}
      <div className="row"><Button loading={move.isPending} onClick={() => move.mutate(on ? 0 : 100)}>{t('release.switch', { v: on ? r.stable : r.candidate })}</Button></div>
    </div>
  );
}

function Verdict({ r, v }: { r: Release; v: NonNullable<Release['verdict']> }) {
  const { t } = useT();
  const c = calls[v.call];
  return (
    <div>
      <p><Pill shape={c.shape} tone={c.tone}>{t(c.word)}</Pill></p>
      {v.reasons?.map((text) => <p key={text} className="dim break">{text}</p>)}
      {!!v.tests?.length && (
        <div className="scroll">
          <table className="t">
            <thead><tr><th>{t('test.compared')}</th><th className="right">{t('test.version', { v: r.stable })}</th><th className="right">{t('test.version', { v: r.candidate })}</th><th>{t('test.worse')}</th><th>{t('test.bound')}</th></tr></thead>
            <tbody>{v.tests.map((x) => <Test key={x.name} x={x} />)}</tbody>
          </table>
        </div>
      )}
    </div>
  );
}

function Test({ x }: { x: ReleaseTest }) {
  const { t, lang } = useT();
  const rate = (n: ReleaseTest['stable']) => <>{n.requests ? percent(n.bad / n.requests, lang, 1) : '–'} <span className="dim">{number(n.bad, lang)} / {number(n.requests, lang)}</span></>;
  const name = tests[x.name];
  return (
    <tr>
      <td>{name ? t(name) : x.name}{!!x.above_ms && <span className="dim"> · {t('test.above', { ms: value(x.above_ms, lang) })}</span>}</td>
      <td className="right num">{rate(x.stable)}</td>
      <td className="right num">{rate(x.candidate)}</td>
      <td className="num" style={{ whiteSpace: 'nowrap' }}>
        <Bar fraction={Math.log(Math.max(1, x.evidence)) / Math.log(Math.max(2, x.needed))} label={t('test.worse')} /> <span className="dim">{t('test.of', { x: value(x.evidence, lang), y: value(x.needed, lang) })}</span>
      </td>
      <td className="num" style={{ whiteSpace: 'nowrap' }}>{x.bound < 1 ? percent(x.bound, lang, 1) : '–'} <span className="dim">{t('test.margin', { m: percent(x.margin, lang, 1) })}</span></td>
    </tr>
  );
}

function Copies({ r, c }: { r: Release; c: NonNullable<Release['copies']> }) {
  const { t, lang } = useT();
  return (
    <dl className="facts">
      <dt>{t('copies.compared')}</dt><dd className="num">{number(c.compared, lang)}</dd>
      <dt>{t('copies.agreed')}</dt><dd className="num">{c.rows ? percent(c.agreed / c.rows, lang, 2) : '–'}</dd>
      <dt>{t('copies.differ')}</dt><dd className="num">{value(c.max_abs, lang)}</dd>
      <dt>{t('copies.time', { w: r.stable, v: r.candidate })}</dt><dd className="num">{value(c.stable_ms, lang)} ms · {value(c.shadow_ms, lang)} ms</dd>
      <dt>{t('copies.dropped')}</dt><dd className="num">{number(c.dropped, lang)}</dd>
      <dt>{t('copies.failed')}</dt><dd className={c.failed ? 'num bad' : 'num'}>{number(c.failed, lang)}{c.error && <p className="break">{c.error}</p>}</dd>
    </dl>
  );
}

/** Ends the release, one way or the other, once it is confirmed. */
function End({ s, r }: { s: Service; r: Release }) {
  const { t } = useT();
  const client = useQueryClient();
  const [as, ask] = useState<'promoted' | 'rolled_back'>();
  const act = useMutation({
    mutationFn: () => call('DELETE', `/services/${part(s.model)}/release?outcome=${as}`),
    onSuccess: () => {
      done(t(as === 'promoted' ? 'release.promoted' : 'release.rolled_back', { v: r.candidate, w: r.stable }));
      void client.invalidateQueries({ queryKey: ['services'] });
      ask(undefined);
    },
  });
  const vars = { v: r.candidate, w: r.stable };
  return (
    <>
      <Button variant="default" onClick={() => ask('rolled_back')}>{t('release.back')}</Button>
      <Button onClick={() => ask('promoted')}>{t('release.promote')}</Button>
      {as && (
        <Modal opened onClose={() => ask(undefined)} title={t(as === 'promoted' ? 'release.promote.title' : 'release.back.title', vars)} closeButtonProps={{ 'aria-label': t('close') }}>
          <p>{t(as === 'promoted' ? 'release.promote.text' : 'release.back.text', vars)}</p>
          {act.error && <div style={{ marginTop: 10 }}><Problem error={act.error} /></div>}
          <div className="dialog-foot">
            <Button variant="default" onClick={() => ask(undefined)}>{t('keep')}</Button>
            <Button color={as === 'promoted' ? undefined : 'red'} loading={act.isPending} onClick={() => act.mutate()}>{t(as === 'promoted' ? 'release.promote' : 'release.back')}</Button>
          </div>
        </Modal>
      )}
    </>
  );
}

function Start({ s, latest, close }: { s: Service; latest: number; close: () => void }) {
  const { t } = useT();
  const client = useQueryClient();
  const [version, setVersion] = useState(latest === s.default ? '' : String(latest));
  const [mode, setMode] = useState<ReleaseMode>('canary');
  const [share, setShare] = useState<number | string>(10);
  const shared = mode !== 'blue-green';
  const act = useMutation({
    mutationFn: () => call('PUT', `/services/${part(s.model)}/release`, { json: { candidate: Number(version) || latest, mode, ...(shared && { percent: Number(share) }) } }),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: ['services'] });
      close();
    },
  });
  return (
    <Modal opened onClose={close} title={t('release.start')} closeButtonProps={{ 'aria-label': t('close') }}>
      <form onSubmit={(e) => { e.preventDefault(); act.mutate(); }} className="stack">
        <Versions model={s.model} version={version} change={setVersion} />
        <NativeSelect label={t('release.mode')} value={mode} onChange={(e) => setMode(e.currentTarget.value as ReleaseMode)} data={(Object.keys(modes) as ReleaseMode[]).map((m) => ({ value: m, label: t(modes[m].name) }))} description={t(modes[mode].text)} />
        {shared && <NumberInput label={t('release.first')} min={0} max={100} value={share} onChange={setShare} />}
        <p>{t('release.text')}</p>
        {act.error && <Problem error={act.error} />}
        <div className="dialog-foot">
          <Button variant="default" onClick={close}>{t('keep.not')}</Button>
          <Button type="submit" loading={act.isPending}>{t('release.start')}</Button>
        </div>
      </form>
    </Modal>
  );
}
