import { Button } from '@mantine/core';
import { useEffect, useMemo, useState } from 'react';
import { Link, useNavigate, useParams } from 'react-router';
import { part } from '../api/client';
import { useServices } from '../api/queries';
import type { Service as Record } from '../api/types';
import { bytes, number, percent } from '../format';
import { useT } from '../i18n';
import { Rocket, Stop } from '../ui/icons';
import { Ago, Card, Empty, Kpi, Problem, ServePill, Skeleton, useTitle } from '../ui/parts';
import { Chart } from '../ui/Chart';
import { DeployDialog, UndeployDialog, useDialog } from './serving/Dialogs';
import { Pad } from './serving/Pad';
import { QueueCard } from './serving/Queue';
import { ReleaseCard } from './serving/Release';
import { draws, example, shape } from './serving/signature';
import { TryJson } from './serving/TryJson';
import { history, useSeen } from './serving/history';

export default function Service() {
  const { t } = useT();
  const name = useParams().name!;
  useTitle(`${name} · ${t('nav.serving')}`);
  const services = useServices();
  useEffect(() => { if (services.data) history.add(services.data.items ?? [], services.dataUpdatedAt); }, [services.data, services.dataUpdatedAt]);
  if (services.error && !services.data) return <Problem error={services.error} retry={() => void services.refetch()} />;
  if (!services.data) return <div className="card" style={{ height: 300 }}><div className="b"><Skeleton height={44} width={260} /></div></div>;
  const s = services.data.items?.find((x) => x.model === name);
  if (!s) return <Card title={name}><Empty command={`lineshaft deploy ${name}`}>{t('serving.none', { model: name })}</Empty></Card>;
  return <Loaded s={s} />;
}

function Loaded({ s }: { s: Record }) {
  const { t, lang } = useT();
  const navigate = useNavigate();
  const deploy = useDialog();
  const undeploy = useDialog();
  const [version, setVersion] = useState<number>();
  const versions = s.versions ?? [];
  const answering = versions.filter((v) => v.state === 'AVAILABLE');
  const picked = answering.some((v) => v.version === version) ? version : undefined;
  const asked = versions.find((v) => v.version === (picked ?? s.default));
  const drawn = draws(asked);
  const [wanted, setTab] = useState<'draw' | 'json'>('draw');
  const tab = drawn ? wanted : 'json';
  return (
    <>
      <section className="card" aria-label={s.model}>
        <header style={{ minHeight: 44 }}>
          <h2 className="break">{s.model}</h2>
          <span className="note"><Link to={`/models/${part(s.model)}`}>{t('serving.to_model')}</Link></span>
          <span className="r">
            <Button variant="default" leftSection={<Stop size={14} />} onClick={undeploy.show}>{t('undeploy')}</Button>
            <Button leftSection={<Rocket size={14} />} onClick={deploy.show}>{t('deploy')}</Button>
          </span>
        </header>
        <div className="kpis flush">
          <Kpi label={t('serving.rps')} value={number(s.rps, lang, 1)} unit="rps" sub={t('serving.window')} />
          <Kpi label={t('serving.p50')} value={number(s.p50_ms, lang, 2)} unit="ms" />
          <Kpi label={t('serving.p99')} value={number(s.p99_ms, lang, 2)} unit="ms" />
          <Kpi label={t('serving.requests')} value={number(s.requests, lang)} />
          <Kpi label={t('serving.errors')} value={number(s.errors, lang)} sub={percent(s.requests ? s.errors / s.requests : 0, lang, 1)} />
        </div>
      </section>
      <Card
        className="c7" title={t('try')}
        right={
          <>
            {answering.length > 1 && (
              <select className="select" aria-label={t('version')} value={picked ?? ''} onChange={(e) => setVersion(Number(e.currentTarget.value) || undefined)}>
                <option value="">{t('try.default')}</option>
                {answering.map((v) => <option key={v.version} value={v.version}>{t('version')} {v.version}</option>)}
              </select>
            )}
            {drawn && <span className="lang" role="group" aria-label={t('try')}>
              <button type="button" aria-pressed={tab === 'draw'} onClick={() => setTab('draw')}>{t('try.draw')}</button>
              <button type="button" aria-pressed={tab === 'json'} onClick={() => setTab('json')}>JSON</button>
            </span>}
          </>
        }
      >
        <div className="b">{tab === 'draw' ? <Pad key={picked} model={s.model} version={picked} /> : <TryJson key={`${asked?.version}`} model={s.model} version={picked} start={drawn ? undefined : example(asked)} />}</div>
      </Card>
      <Traffic model={s.model} />
      <ReleaseCard s={s} />
      {s.queue && <QueueCard q={s.queue} />}
      <Card title={t('models.versions')}>
        <div className="scroll">
          <table className="t">
            <thead><tr><th>{t('version')}</th><th>{t('state')}</th><th>{t('serving.labels')}</th><th className="right">{t('serving.requests')}</th><th className="right">{t('serving.errors')}</th><th className="right wide-only">{t('constraint.memory')}</th><th className="wide-only">{t('serving.loaded')}</th></tr></thead>
            <tbody>
              {versions.map((v) => (
                <tr key={v.version}>
                  <td className="mono">{v.version}{v.version === s.default && <span className="tag" style={{ marginLeft: 6 }}>{t('serving.default')}</span>}</td>
                  <td><ServePill state={v.state} failed={!!v.error} />{!!v.inputs?.length && <p className="dim mono break" style={{ fontSize: 11 }}>{v.inputs.map(shape).join(', ')} → {(v.outputs ?? []).map(shape).join(', ')}</p>}{v.error && <p className="bad break">{v.error}</p>}</td>
                  <td>{v.labels?.length ? v.labels.map((l) => <span key={l} className="tag" style={{ marginRight: 4 }}>{l}</span>) : <span className="dim">–</span>}</td>
                  <td className="right">{number(v.requests, lang)}</td>
                  <td className={v.errors ? 'right bad' : 'right'}>{number(v.errors, lang)}</td>
                  <td className="right wide-only">{v.memory_bytes ? bytes(v.memory_bytes, lang) : '–'}</td>
                  <td className="wide-only"><Ago time={v.loaded} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Card>
      {deploy.open && <DeployDialog model={s.model} close={deploy.hide} />}
      {undeploy.open && <UndeployDialog model={s.model} close={undeploy.hide} gone={() => void navigate('/serving')} />}
    </>
  );
}

function Traffic({ model }: { model: string }) {
  const { t, lang } = useT();
  const seen = useSeen(model);
  const rates = useMemo(() => [{ name: t('serving.requests'), colour: '--accent', values: seen.requests }, { name: t('serving.errors'), colour: '--bad', values: seen.errors }], [seen, t]);
  const times = useMemo(() => [{ name: 'p50', colour: '--accent', values: seen.p50 }, { name: 'p99', colour: '--warn', values: seen.p99, dash: true }], [seen]);
  return (
    <Card className="c5" title={t('serving.traffic')} note={t('serving.since_open')}>
      <div className="b stack">
        <div><h3 className="sub">{t('serving.per_second')}</h3><Chart x={seen.time} series={rates} height={130} time min={0} label={t('serving.per_second')} format={(v) => number(v, lang, 1)} /></div>
        <div><h3 className="sub">{t('serving.latency')}</h3><Chart x={seen.time} series={times} height={130} time min={0} label={t('serving.latency')} format={(v) => `${number(v, lang, 2)} ms`} /></div>
      </div>
    </Card>
  );
}
