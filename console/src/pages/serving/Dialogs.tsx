import { Button, Modal, NativeSelect } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { call, part, post } from '../../api/client';
import { useModel, useModels } from '../../api/queries';
import { useT } from '../../i18n';
import { done } from '../../ui/notify';
import { Empty, Problem } from '../../ui/parts';

export function useDialog() {
  const [open, setOpen] = useState(false);
  return { open, show: () => setOpen(true), hide: () => setOpen(false) };
}

/** Puts a version of a model in service. */
export function DeployDialog({ model: given, close }: { model?: string; close: () => void }) {
  const { t } = useT();
  const client = useQueryClient();
  const models = useModels().data?.items;
  const [picked, pick] = useState(given ?? '');
  const model = picked || models?.[0]?.name || '';
  const [version, setVersion] = useState('');
  const act = useMutation({
    mutationFn: () => post('/services', { model, version: Number(version) || models?.find((m) => m.name === model)?.latest }),
    onSuccess: () => {
      done(t('deploy.done', { ref: model }));
      void client.invalidateQueries({ queryKey: ['services'] });
      close();
    },
  });
  return (
    <Modal opened onClose={close} title={t('deploy.any')} closeButtonProps={{ 'aria-label': t('close') }}>
      {models && !models.length ? <Empty command="lineshaft models upload mnist model.h5">{t('models.empty')}</Empty> : (
        <form onSubmit={(e) => { e.preventDefault(); act.mutate(); }}>
          <NativeSelect label={t('model')} disabled={!!given} value={model} onChange={(e) => { pick(e.currentTarget.value); setVersion(''); }} data={(models ?? []).map((m) => m.name)} mb={10} />
          {model && <Versions model={model} version={version} change={setVersion} />}
          <p style={{ marginTop: 12 }}>{t('deploy.text')}</p>
          {act.error && <div style={{ marginTop: 10 }}><Problem error={act.error} /></div>}
          <div className="dialog-foot">
            <Button variant="default" onClick={close}>{t('keep.not')}</Button>
            <Button type="submit" loading={act.isPending} disabled={!model}>{t('deploy')}</Button>
          </div>
        </form>
      )}
    </Modal>
  );
}

export function Versions({ model, version, change }: { model: string; version: string; change: (v: string) => void }) {
  const { t } = useT();
  const m = useModel(model).data;
  const names = (v: number) => Object.entries(m?.aliases ?? {}).filter(([, n]) => n === v).map(([a]) => a);
  const data = [...(m?.items ?? [])].sort((a, b) => b.version - a.version).map((v) => ({ value: String(v.version), label: [String(v.version), ...names(v.version)].join(' · ') }));
  return <NativeSelect label={t('version')} value={version || String(m?.latest ?? '')} onChange={(e) => change(e.currentTarget.value)} data={data} />;
}

/** Takes a model out of service. */
export function UndeployDialog({ model, close, gone }: { model: string; close: () => void; gone: () => void }) {
  const { t } = useT();
  const client = useQueryClient();
  const act = useMutation({
    mutationFn: () => call('DELETE', `/services/${part(model)}`),
    onSuccess: () => {
      done(t('undeploy.done', { model }));
      void client.invalidateQueries({ queryKey: ['services'] });
      gone();
    },
  });
  return (
    <Modal opened onClose={close} title={t('undeploy.title', { model })} closeButtonProps={{ 'aria-label': t('close') }}>
      <p>{t('undeploy.text')}</p>
      {act.error && <div style={{ marginTop: 10 }}><Problem error={act.error} /></div>}
      <div className="dialog-foot">
        <Button variant="default" onClick={close}>{t('keep')}</Button>
        <Button color="red" loading={act.isPending} onClick={() => act.mutate()}>{t('undeploy')}</Button>
      </div>
    </Modal>
  );
}
