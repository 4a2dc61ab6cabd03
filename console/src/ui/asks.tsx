import { bits, bytes, fullTime, number } from '../format';
import { useT } from '../i18n';
import type { Spec } from '../api/types';

/** What each task of a job asks for, and how near the tasks are to be, in one line. */
export function Asks({ spec }: { spec: Spec }) {
  const { t, lang } = useT();
  const r = spec.resources ?? {};
  const parts = [t('node.cores', { n: number(r.cpu ?? 0, lang, 2) }), bytes(r.memory, lang)];
  if (r.accelerators) {
    const what = [r.kind, r.model, r.accelerator_memory ? bytes(r.accelerator_memory, lang) : ''].filter(Boolean).join(' ');
    const n = r.share && r.share < 1 ? t('resources.share', { n: number(r.share, lang, 3) }) : t('resources.accelerators', { n: r.accelerators });
    parts.push(what ? `${n} (${what})` : n);
  }
  if (r.storage) parts.push(`${t('constraint.storage')} ${bytes(r.storage, lang)}`);
  if (r.bandwidth) parts.push(bits(r.bandwidth, lang));
  if (r.watts) parts.push(`${number(r.watts, lang)} W`);
  if (spec.topology?.level) parts.push(t(spec.topology.hard ? 'topology.hard' : 'topology.soft', { level: t(levels[spec.topology.level]) }));
  return <>{parts.join(' · ')}</>;
}

const levels = { domain: 'topology.domain', node: 'topology.node', rack: 'topology.rack' } as const;

/** When the job may start and should have ended, as rows of a list of facts. */
export function Times({ spec }: { spec: Spec }) {
  const { t, lang } = useT();
  return (
    <>
      {spec.not_before && <><dt>{t('spec.not_before')}</dt><dd>{fullTime(spec.not_before, lang)}</dd></>}
      {spec.deadline && <><dt>{t('spec.deadline')}</dt><dd>{fullTime(spec.deadline, lang)}{spec.deferrable && <span className="dim"> · {t('spec.deferrable')}</span>}</dd></>}
    </>
  );
}
