import type { Outlook as Expected } from '../../api/types';
import { percent, span } from '../../format';
import { useT } from '../../i18n';
import { useNow } from '../../ui/parts';
import { constraint } from '../../ui/words';

/** What a waiting job can expect, what is scarce, and what would start it now, from the last plan's own record. */
export function Outlook({ o }: { o: Expected }) {
  const { t, lang } = useT();
  const now = useNow();
  const scarce = o.plan?.prices[0];
  return (
    <>
      <dl className="facts b">
        <dt>{t('plan.position')}</dt><dd>{t('plan.position.of', { n: o.position, of: o.of })}</dd>
        <dt>{t('plan.queue')}</dt><dd>{o.queue}{o.resource && <span className="dim"> · {t('plan.holds', { share: percent(o.share, lang), resource: constraint(t, o.resource) })}</span>}</dd>
        {o.earliest && <><dt>{t('plan.starts')}</dt><dd>{t(o.confidence ? 'plan.starts.in' : 'plan.starts.after', { span: span(Math.max(0, (Date.parse(o.earliest) - now) / 1000), lang) })} {!!o.confidence && <span className="dim">{t('plan.sure', { p: percent(o.confidence, lang) })}</span>}</dd></>}
        {o.rule && <><dt>{t('plan.rule')}</dt><dd className="mono">{o.rule}</dd></>}
        {o.plan && <><dt>{t('plan.gap')}</dt><dd>{t('plan.gap.value', { p: percent(o.plan.gap, lang, 1) })}</dd></>}
        {scarce && <><dt>{t('plan.scarce')}</dt><dd>{constraint(t, scarce.resource)} <span className="dim">{t('plan.worth', { where: scarce.where, worth: percent(scarce.worth, lang, 1) })}</span></dd></>}
      </dl>
      {!!o.changes?.length && (
        <>
          <h3 className="sub" style={{ margin: '6px 15px 4px' }}>{t('plan.changes')}</h3>
          <div className="scroll">
            <table className="t">
              <thead><tr><th>{t('plan.change')}</th><th>{t('plan.from')}</th><th>{t('plan.to')}</th></tr></thead>
              <tbody>
                {o.changes.map((c) => (
                  <tr key={c.field + c.to}>
                    <td><span className="mono">{c.field}</span><span className="dim break" style={{ display: 'block' }}>{c.means}</span>{!!c.stops?.length && <span className="dim break" style={{ display: 'block' }}>{t('plan.stops', { jobs: c.stops.join(', ') })}</span>}</td>
                    <td className="mono dim">{c.from || '–'}</td><td className="mono">{c.to}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </>
  );
}
