import { Modal } from '@mantine/core';
import { useT } from '../i18n';
import { Command } from '../ui/parts';
import { places } from './places';

export default function Help({ close }: { close: () => void }) {
  const { t } = useT();
  const rows: [string[], string][] = [
    [['Ctrl', 'K'], t('palette.open')],
    ...places.map((p): [string[], string] => [['g', p.go], t('help.go', { page: t(p.key) })]),
    [['c'], t('submit.title')],
    [['/'], t('palette.open')],
    [['?'], t('help.title')],
    [['Esc'], t('help.close')],
  ];
  return (
    <Modal opened onClose={close} title={t('help.title')} closeButtonProps={{ 'aria-label': t('close') }}>
      <table className="t">
        <tbody>
          {rows.map(([keys, what], i) => (
            <tr key={i}><td style={{ width: 110 }}><span className="row">{keys.map((k) => <kbd key={k}>{k}</kbd>)}</span></td><td>{what}</td></tr>
          ))}
        </tbody>
      </table>
      <p className="dim" style={{ margin: '14px 15px 6px' }}>{t('help.cli')}</p>
      <div style={{ margin: '0 15px' }}><Command text="lineshaft --help" /></div>
    </Modal>
  );
}
