import { Button } from '@mantine/core';
import { useEffect } from 'react';
import { Link, useNavigate } from 'react-router';
import { useServices } from '../api/queries';
import type { Service } from '../api/types';
import { number } from '../format';
import { useT } from '../i18n';
import { Rocket } from '../ui/icons';
import { Card, Empty, Problem, ServePill, SkeletonRows, useTitle } from '../ui/parts';
import { Chart } from '../ui/Chart';
import { DeployDialog, useDialog } from './serving/Dialogs';
import { history, useSeen } from './serving/history';

export default function Serving() {
  const { t, lang } = useT();
  useTitle(t('nav.serving'));
  const services = useServices();
  const deploy = useDialog();
  const items = services.data?.items ?? [];
  useEffect(() => { if (services.data) history.add(services.data.items ?? [], services.dataUpdatedAt); }, [services.data, services.dataUpdatedAt]);
  return (
    <Card
      title={t('serving.title')} note={services.data && t('count', { n: number(items.length, lang) })}
      right={<Button leftSection={<Rocket size={14} />} onClick={deploy.show}>{t('deploy')}</Button>}
    >
      {services.error && !services.data ? <div className="b"><Problem error={services.error} retry={() => void services.refetch()} /></div>
        : !services.isPending && !items.length ? <Empty command="lineshaft deploy mnist">{t('serving.empty')}</Empty>
          : (
            <div className="scroll" style={{ minHeight: 200 }}>
              <table className="t">
                <thead>
                  <tr>
                    <th>{t('model')}</th><th>{t('models.versions')}</th><th className="right">{t('serving.rps')}</th><th className="right">p50</th><th className="right">p99</th>
                    <th className="right wide-only">{t('serving.requests')}</th><th className="right wide-only">{t('serving.errors')}</th><th className="wide-only" style={{ width: 180 }}>{t('serving.minutes')}</th>
                  </tr>
                </thead>
                <tbody>{services.isPending ? <SkeletonRows rows={3} columns={8} /> : items.map((s) => <Row key={s.model} s={s} />)}</tbody>
              </table>
            </div>
          )}
      {deploy.open && <DeployDialog close={deploy.hide} />}
    </Card>
  );
}

function Row({ s }: { s: Service }) {
  const { t, lang } = useT();
  const navigate = useNavigate();
  const seen = useSeen(s.model);
  const path = `/serving/${encodeURIComponent(s.model)}`;
  return (
    <tr className="go" onClick={(e) => !(e.target as HTMLElement).closest('a') && navigate(path)}>
      <td className="break"><Link to={path} className="name">{s.model}</Link></td>
      <td>
        {(s.versions ?? []).filter((v) => v.state !== 'END' || v.error).map((v) => (
          <span key={v.version} className="row wrap"><span className="mono">{v.version}</span><ServePill state={v.state} failed={!!v.error} />{(v.labels ?? []).map((l) => <span key={l} className="tag">{l}</span>)}</span>
        ))}
      </td>
      <td className="right">{number(s.rps, lang, 1)}</td>
      <td className="right">{number(s.p50_ms, lang, 2)} <span className="dim">ms</span></td>
      <td className="right">{number(s.p99_ms, lang, 2)} <span className="dim">ms</span></td>
      <td className="right wide-only">{number(s.requests, lang)}</td>
      <td className={`right wide-only ${s.errors ? 'bad' : ''}`}>{number(s.errors, lang)}</td>
      <td className="wide-only"><Chart bare x={seen.time} series={[{ name: t('serving.rps'), colour: '--accent', values: seen.requests }, { name: t('serving.errors'), colour: '--bad', values: seen.errors }]} height={24} label={t('serving.rps')} time min={0} /></td>
    </tr>
  );
}
