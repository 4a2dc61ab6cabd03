import { Button, Modal, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useParams } from 'react-router';
import { call, download, part, post } from '../api/client';
import { useModel, useServices } from '../api/queries';
import type { ModelDetail, Service, Version } from '../api/types';
import { bytes, number, percent, shortDigest, value } from '../format';
import { useT } from '../i18n';
import { Close, Copy, Download, Rocket, Tag, Upload } from '../ui/icons';
import { done } from '../ui/notify';
import { Ago, Card, Kpi, Problem, ServePill, Skeleton, useTitle } from '../ui/parts';
import { readable, yaml } from '../ui/yaml';
import { Aliases } from './models/Aliases';
import { UploadDialog, useDrop } from './models/Upload';

export default function Model() {
  const { t } = useT();
  const name = useParams().name!;
  useTitle(name);
  const model = useModel(name);
  const service = (useServices().data?.items ?? []).find((s) => s.model === name);
  const [files, setFiles] = useState<File[]>();
  const [asking, setAsking] = useState<Asking>();
  const { over, handlers } = useDrop(setFiles);
  const [picked, pick] = useState<number>();
  if (model.error) return <Problem error={model.error} retry={() => void model.refetch()} />;
  const m = model.data;
  if (!m) return <div className="card" style={{ height: 132 }}><div className="b"><Skeleton height={44} width={260} /></div></div>;
  const versions = [...(m.items ?? [])].sort((a, b) => b.version - a.version);
  const shown = versions.find((v) => v.version === picked) ?? versions[0];
  return (
    <div {...handlers} className={over ? 'drop over stack' : 'drop stack'} data-hint={t('upload.drop')}>
      <Head m={m} service={service} upload={() => setFiles([])} ask={setAsking} />
      <Card title={t('models.versions')}>
        <div className="scroll">
          <table className="t">
            <thead>
              <tr>
                <th>{t('version')}</th><th>{t('aliases')}</th><th>{t('models.served')}</th><th className="wide-only">{t('accuracy')}</th><th className="wide-only">{t('models.source')}</th>
                <th className="wide-only right">{t('size')}</th><th className="wide-only">{t('created')}</th><th><span className="hidden">{t('actions')}</span></th>
              </tr>
            </thead>
            <tbody>
              {versions.map((v) => <VersionRow key={v.version} v={v} m={m} service={service} picked={v === shown} pick={() => pick(v.version)} ask={setAsking} />)}
            </tbody>
          </table>
        </div>
      </Card>
      {shown && <Lineage v={shown} />}
      {files && <UploadDialog files={files} name={name} close={() => setFiles(undefined)} />}
      {asking && <Ask m={m} asking={asking} close={() => setAsking(undefined)} />}
    </div>
  );
}

const accuracy = (v: Version) => v.metrics?.val_accuracy ?? v.metrics?.test_accuracy ?? v.metrics?.accuracy;

function Head({ m, service, upload, ask }: { m: ModelDetail; service: Service | undefined; upload: () => void; ask: (a: Asking) => void }) {
  const { t, lang } = useT();
  return (
    <section className="card" aria-label={m.name}>
      <header style={{ minHeight: 44 }}>
        <h2 className="break">{m.name}</h2>
        <span className="r">
          <Button variant="default" leftSection={<Upload size={14} />} onClick={upload}>{t('upload')}</Button>
          {m.latest > 0 && <Button leftSection={<Rocket size={14} />} onClick={() => ask({ what: 'deploy', version: m.latest })}>{t('deploy')}</Button>}
        </span>
      </header>
      <div className="kpis flush">
        <Kpi label={t('models.latest')} value={m.latest} sub={<Ago time={m.updated} />} />
        <Kpi label={t('models.versions')} value={number(m.versions, lang)} />
        <dl className="kpi">
          <dt>{t('aliases')}</dt>
          <dd className="row wrap" style={{ gap: 5, minHeight: 27 }}>
            {Object.entries(m.aliases ?? {}).sort().map(([a, v]) => (
              <span key={a} className="tag"><Tag size={11} />{a} → {v}
                <button type="button" className="icon tiny" aria-label={t('alias.remove', { alias: a })} title={t('alias.remove', { alias: a })} onClick={() => ask({ what: 'unalias', version: v, alias: a })}><Close size={11} /></button>
              </span>
            ))}
            <button type="button" className="tag plain" onClick={() => ask({ what: 'alias', version: m.latest })}>+ {t('alias.set')}</button>
          </dd>
        </dl>
        <Kpi label={t('models.served')} value={service ? number(service.rps, lang, 1) : '–'} unit={service && 'rps'} sub={service ? <Link to={`/serving/${part(m.name)}`}>{t('models.to_service')}</Link> : t('models.not_served')} />
      </div>
    </section>
  );
}

function VersionRow({ v, m, service, picked, pick, ask }: { v: Version; m: ModelDetail; service: Service | undefined; picked: boolean; pick: () => void; ask: (a: Asking) => void }) {
  const { t, lang } = useT();
  const served = service?.versions?.find((s) => s.version === v.version);
  const acc = accuracy(v);
  return (
    <tr className={picked ? 'go picked' : 'go'} onClick={(e) => !(e.target as HTMLElement).closest('a, button') && pick()}>
      <td><button type="button" className="link mono" aria-pressed={picked} onClick={pick}>{v.version}</button></td>
      <td><Aliases of={m.aliases} version={v.version} /></td>
      <td>{served ? <ServePill state={served.state} failed={!!served.error} /> : <span className="dim">–</span>}</td>
      <td className="wide-only">{acc === undefined ? '–' : percent(acc, lang, 2)}</td>
      <td className="wide-only mono">{v.lineage?.job ? <Link to={`/jobs/${v.lineage.job}`}>job/{v.lineage.job}</Link> : v.source || '–'}</td>
      <td className="wide-only right">{bytes(v.size, lang)}</td>
      <td className="wide-only"><Ago time={v.created} /></td>
      <td className="right">
        <span className="row" style={{ justifyContent: 'flex-end', gap: 4 }}>
          <button type="button" className="icon" aria-label={t('deploy.version', { version: v.version })} title={t('deploy')} onClick={() => ask({ what: 'deploy', version: v.version })}><Rocket size={15} /></button>
          <button type="button" className="icon" aria-label={t('alias.version', { version: v.version })} title={t('alias.set')} onClick={() => ask({ what: 'alias', version: v.version })}><Tag size={15} /></button>
          <button type="button" className="icon" aria-label={t('export.version', { version: v.version })} title={t('export')} onClick={() => ask({ what: 'export', version: v.version, file: `${m.name}-${v.version}${{ 'keras-zip': '.keras', onnx: '.onnx' }[v.format] ?? '.h5'}` })}><Download size={15} /></button>
        </span>
      </td>
    </tr>
  );
}

function Lineage({ v }: { v: Version }) {
  const { t, lang } = useT();
  const metrics = Object.entries(v.metrics ?? {}).sort();
  return (
    <Card title={t('lineage')} note={<code>{v.model}:{v.version}</code>}>
      <div className="two">
        <dl className="facts b">
          <dt>{t('digest')}</dt>
          <dd className="mono row"><span className="clip" title={v.digest}>{shortDigest(v.digest)}</span><button type="button" className="icon tiny" aria-label={t('copy.digest')} onClick={() => void navigator.clipboard?.writeText(v.digest).then(() => done(t('copied')))}><Copy size={13} /></button></dd>
          <dt>{t('format')}</dt><dd className="mono">{v.format}</dd>
          <dt>{t('size')}</dt><dd>{bytes(v.size, lang)}</dd>
          <dt>{t('models.source')}</dt><dd className="mono">{v.lineage?.job ? <><Link to={`/jobs/${v.lineage.job}`}>job/{v.lineage.job}</Link>{v.lineage.attempt ? <span className="dim"> · {t('job.attempt', { n: v.lineage.attempt })}</span> : null}</> : v.source}</dd>
          {v.lineage?.from && <><dt>{t('lineage.from')}</dt><dd className="mono clip" title={v.lineage.from}>{v.lineage.from.replace(/ sha256:([0-9a-f]{12})[0-9a-f]+/, ' $1')}</dd></>}
          {v.lineage?.change && <><dt>{t('lineage.change')}</dt><dd>{v.lineage.change}</dd></>}
          <dt>{t('creator')}</dt><dd>{v.creator}</dd>
          <dt>{t('data')}</dt>
          <dd className="mono">{v.lineage?.data?.length ? v.lineage.data.map((d) => <div key={d} className="clip" title={d}>{d.replace(/sha256:([0-9a-f]{12})[0-9a-f]+/, '$1')}</div>) : <span className="dim">{t('lineage.no_data')}</span>}</dd>
          {metrics.map(([k, x]) => [<dt key={k} className="mono">{k}</dt>, <dd key={`${k}v`}>{/accuracy/.test(k) ? percent(x, lang, 2) : value(x, lang)}</dd>])}
        </dl>
        {v.lineage?.spec ? <pre className="code" tabIndex={0} aria-label={t('job.spec')}>{yaml(readable(v.lineage.spec))}</pre> : <p className="dim b">{t('lineage.no_spec')}</p>}
      </div>
    </Card>
  );
}

interface Asking { what: 'deploy' | 'alias' | 'unalias' | 'export'; version: number; alias?: string; file?: string }

/** Asks before something changes for others. */
function Ask({ m, asking, close }: { m: ModelDetail; asking: Asking; close: () => void }) {
  const { t } = useT();
  const client = useQueryClient();
  const [alias, setAlias] = useState(asking.alias ?? 'prod');
  const { what, version } = asking;
  const ref = `${m.name}:${version}`;
  const act = useMutation({
    mutationFn: async () => {
      switch (what) {
        case 'deploy': return post('/services', { model: m.name, version });
        case 'alias': return call('PUT', `/models/${part(m.name)}/aliases/${part(alias)}`, { json: { version } });
        case 'unalias': return call('DELETE', `/models/${part(m.name)}/aliases/${part(alias)}`);
        case 'export': return download(`/models/${part(m.name)}/versions/${version}/export`, asking.file!);
      }
    },
    onSuccess: () => {
      done({ deploy: t('deploy.done', { ref }), alias: t('alias.done', { alias, ref }), unalias: t('alias.removed', { alias }), export: t('export.done', { ref }) }[what]);
      for (const key of ['models', 'model', 'services', 'overview']) void client.invalidateQueries({ queryKey: [key] });
      close();
    },
  });
  const title = { deploy: t('deploy.title', { ref }), alias: t('alias.title', { ref }), unalias: t('alias.remove', { alias }), export: t('export.title', { ref }) }[what];
  const before = m.aliases?.[alias];
  const text = {
    deploy: t('deploy.text'),
    alias: before === version ? t('alias.same', { alias, version }) : before ? t('alias.move', { alias, from: before, to: version }) : t('alias.new', { alias, version }),
    unalias: t('alias.remove.text', { alias, version }),
    export: t('export.text'),
  }[what];
  const button = { deploy: t('deploy'), alias: before ? t('alias.do_move') : t('alias.do_set'), unalias: t('remove'), export: t('export') }[what];
  return (
    <Modal opened onClose={close} title={title} closeButtonProps={{ 'aria-label': t('close') }}>
      <form onSubmit={(e) => { e.preventDefault(); act.mutate(); }}>
        {what === 'alias' && <TextInput data-autofocus label={t('alias')} required value={alias} onChange={(e) => setAlias(e.currentTarget.value)} mb={10} />}
        <p style={{ minHeight: 38 }}>{text}</p>
        {act.error && <div style={{ marginTop: 10 }}><Problem error={act.error} /></div>}
        <div className="dialog-foot">
          <Button variant="default" onClick={close}>{t('keep.not')}</Button>
          <Button type="submit" color={what === 'unalias' ? 'red' : 'teal'} loading={act.isPending} disabled={what === 'alias' && (!alias || before === version)} data-autofocus={what !== 'alias' || undefined}>{button}</Button>
        </div>
      </form>
    </Modal>
  );
}
