import type { Reason } from '../api/types';
import { useT } from '../i18n';
import { Pill } from './parts';
import { constraint } from './words';

/** What a decision needed and what it was offered, from the decision's own record. */
export function Reasons({ reasons }: { reasons: Reason[] }) {
  const { t } = useT();
  return (
    <div className="scroll">
      <table className="t">
        <thead><tr><th>{t('why.constraint')}</th><th>{t('why.needs')}</th><th>{t('why.offered')}</th></tr></thead>
        <tbody>
          {reasons.map((r, i) => (
            <tr key={i}><td title={r.detail}><Pill shape="cross" tone="bad">{constraint(t, r.constraint)}</Pill></td><td className="mono">{r.needed}</td><td className="mono bad">{r.offered}</td></tr>
          ))}
        </tbody>
      </table>
      {reasons.map((r, i) => r.detail && <p key={i} className="dim" style={{ padding: '6px 15px' }}>{r.detail}</p>)}
    </div>
  );
}
