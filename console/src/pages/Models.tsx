import { Button } from '@mantine/core';
import { useEffect, useState } from 'react';
import { Link, useNavigate, useSearchParams } from 'react-router';
import { useModels, useServices } from '../api/queries';
import { number } from '../format';
import { useT } from '../i18n';
import { Upload } from '../ui/icons';
import { Ago, Card, Empty, Pill, Problem, SkeletonRows, useTitle } from '../ui/parts';
import { UploadDialog, useDrop } from './models/Upload';
import { Aliases } from './models/Aliases';

export default function Models() {
  const { t, lang } = useT();
  useTitle(t('nav.models'));
  const models = useModels();
  const served = new Set((useServices().data?.items ?? []).map((s) => s.model));
  const navigate = useNavigate();
  const [params, setParams] = useSearchParams();
  const [files, setFiles] = useState<File[] | undefined>();
  const { over, handlers } = useDrop(setFiles);
  useEffect(() => {
    if (!params.has('upload')) return;
    setFiles([]);
    setParams({}, { replace: true });
  }, [params, setParams]);
  const items = models.data?.items ?? [];
  return (
    <div {...handlers} className={over ? 'drop over' : 'drop'} data-hint={t('upload.drop')}>
      <Card
        title={t('nav.models')} note={models.data && t('count', { n: number(items.length, lang) })}
        right={<Button leftSection={<Upload size={14} />} onClick={() => setFiles([])}>{t('upload')}</Button>}
      >
        {models.error ? <div className="b"><Problem error={models.error} retry={() => void models.refetch()} /></div>
          : !models.isPending && !items.length ? <Empty command="lineshaft models upload mnist model.h5">{t('models.empty')}</Empty>
            : (
              <div className="scroll" style={{ minHeight: 200 }}>
                <table className="t">
                  <thead><tr><th>{t('name')}</th><th>{t('models.latest')}</th><th className="wide-only right">{t('models.versions')}</th><th>{t('aliases')}</th><th>{t('models.served')}</th><th className="wide-only">{t('updated')}</th></tr></thead>
                  <tbody>
                    {models.isPending ? <SkeletonRows rows={4} columns={6} /> : items.map((m) => (
                      <tr key={m.name} className="go" onClick={(e) => !(e.target as HTMLElement).closest('a') && navigate(`/models/${encodeURIComponent(m.name)}`)}>
                        <td className="break"><Link to={`/models/${encodeURIComponent(m.name)}`} className="name">{m.name}</Link></td>
                        <td className="mono">{m.latest}</td>
                        <td className="wide-only right">{number(m.versions, lang)}</td>
                        <td><Aliases of={m.aliases} /></td>
                        <td>{served.has(m.name) ? <Link to={`/serving/${encodeURIComponent(m.name)}`}><Pill shape="dot" tone="ok">{t('models.in_service')}</Pill></Link> : <span className="dim">–</span>}</td>
                        <td className="wide-only"><Ago time={m.updated} /></td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )}
      </Card>
      {files && <UploadDialog files={files} close={() => setFiles(undefined)} />}
    </div>
  );
}
