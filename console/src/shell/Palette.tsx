import { Modal } from '@mantine/core';
import { useMemo, useState, useId, type KeyboardEvent, type ReactNode } from 'react';
import { useNavigate } from 'react-router';
import { useJobs, useModels, useServices } from '../api/queries';
import { setLanguage, useT } from '../i18n';
import { Download, Keyboard, Language, Logout, Models, Moon, Plus, Search, Serving, Shield, Upload } from '../ui/icons';
import { JobPill } from '../ui/parts';
import { useSignOut, useTheme } from './Shell';
import { places } from './places';
import { rank } from './rank';

interface Item { id: string; group: string; label: string; also?: string; icon?: ReactNode; right?: ReactNode; run: () => void }

/** One field for everything: type, choose with the arrows, Enter. */
export default function Palette({ close, help }: { close: () => void; help: () => void }) {
  const { t, language } = useT();
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const list = useId();
  const items = useItems(close, help, t, language);
  const shown = useMemo(() => {
    const found = items.map((item) => ({ item, score: rank(text, `${item.label} ${item.also ?? ''}`) })).filter((x) => x.score > 0);
    if (text.trim()) found.sort((a, b) => b.score - a.score);
    // Groups stay together: the group of the best comes first.
    const groups = [...new Set(found.map((x) => x.item.group))];
    return groups.flatMap((g) => found.filter((x) => x.item.group === g).slice(0, text ? 8 : 6)).map((x) => x.item);
  }, [items, text]);
  const chosen = Math.min(at, shown.length - 1);

  const key = (e: KeyboardEvent) => {
    if (e.nativeEvent.isComposing) return;
    const move = { ArrowDown: 1, ArrowUp: -1, PageDown: 6, PageUp: -6 }[e.key];
    if (move) {
      e.preventDefault();
      const next = Math.abs(move) === 1 ? (chosen + move + shown.length) % (shown.length || 1) : Math.max(0, Math.min(shown.length - 1, chosen + move));
      setAt(next);
      document.getElementById(`${list}-${next}`)?.scrollIntoView({ block: 'nearest' });
    } else if (e.key === 'Enter') {
      e.preventDefault();
      shown[chosen]?.run();
    }
  };

  return (
    <Modal opened onClose={close} withCloseButton={false} padding={0} yOffset="12vh" size={560} aria-label={t('palette.open')}>
      <div className="palette">
        <div className="palette-field">
          <Search size={16} />
          <input
            data-autofocus value={text} onChange={(e) => { setText(e.target.value); setAt(0); }} onKeyDown={key} placeholder={t('palette.hint')}
            role="combobox" aria-expanded="true" aria-controls={list} aria-activedescendant={shown.length ? `${list}-${chosen}` : undefined}
            aria-label={t('palette.hint')} autoComplete="off" spellCheck={false}
          />
          <kbd>Esc</kbd>
        </div>
        <ul id={list} role="listbox" aria-label={t('palette.open')}>
          {shown.map((item, i) => (
            <li key={item.id} role="presentation">
              {shown[i - 1]?.group !== item.group && <p className="group" role="presentation">{item.group}</p>}
              <div id={`${list}-${i}`} role="option" aria-selected={i === chosen} onMouseMove={() => setAt(i)} onClick={item.run} className="option">
                {item.icon}<span className="clip grow">{item.label}</span>{item.right}
              </div>
            </li>
          ))}
        </ul>
        {!shown.length && <p className="empty">{t('palette.none', { text })}</p>}
      </div>
    </Modal>
  );
}

function useItems(close: () => void, help: () => void, t: ReturnType<typeof useT>['t'], language: string): Item[] {
  const navigate = useNavigate();
  const theme = useTheme();
  const signOut = useSignOut();
  const jobs = useJobs('').data?.pages[0]?.items;
  const models = useModels().data?.items;
  const services = useServices().data?.items;
  return useMemo(() => {
    const to = (path: string) => () => { close(); void navigate(path); };
    const act = (f: () => unknown) => () => { close(); void f(); };
    const keys = (text: string) => <span className="row" style={{ gap: 3 }}>{text.split(' ').map((k) => <kbd key={k}>{k}</kbd>)}</span>;
    return [
      ...places.map((p): Item => ({ id: p.path, group: t('palette.pages'), label: t(p.key), also: p.path, icon: <p.icon size={16} />, right: keys(`g ${p.go}`), run: to(p.path) })),
      { id: 'submit', group: t('palette.actions'), label: t('submit.title'), also: 'submit job yaml', icon: <Plus size={16} />, right: keys('c'), run: to('/jobs/new') },
      { id: 'upload', group: t('palette.actions'), label: t('upload.title'), also: 'upload model keras h5', icon: <Upload size={16} />, run: to('/models?upload') },
      { id: 'verify', group: t('palette.actions'), label: t('audit.verify.long'), also: 'verify audit', icon: <Shield size={16} />, run: to('/audit?verify') },
      { id: 'theme', group: t('palette.actions'), label: theme.now === 'dark' ? t('theme.light') : t('theme.dark'), also: 'theme dark light', icon: <Moon size={16} />, run: act(theme.toggle) },
      { id: 'lang', group: t('palette.actions'), label: language === 'en' ? '中文' : 'English', also: 'language zh chinese english yuyan', icon: <Language size={16} />, run: act(() => setLanguage(language === 'en' ? 'zh' : 'en')) },
      { id: 'help', group: t('palette.actions'), label: t('help.title'), also: 'keyboard help', icon: <Keyboard size={16} />, right: keys('?'), run: help },
      { id: 'openapi', group: t('palette.actions'), label: t('palette.openapi'), also: 'openapi api', icon: <Download size={16} />, run: act(() => { location.href = '/api/openapi.json'; }) },
      { id: 'out', group: t('palette.actions'), label: t('sign_out'), also: 'sign out logout', icon: <Logout size={16} />, run: act(signOut) },
      ...(jobs ?? []).map((j): Item => ({ id: `j${j.id}`, group: t('nav.jobs'), label: `${j.name} #${j.id}`, also: `job/${j.id} ${j.owner}`, right: <JobPill state={j.state} />, run: to(`/jobs/${j.id}`) })),
      ...(models ?? []).map((m): Item => ({ id: `m${m.name}`, group: t('nav.models'), label: m.name, also: `model/${m.name}`, icon: <Models size={16} />, run: to(`/models/${encodeURIComponent(m.name)}`) })),
      ...(services ?? []).map((s): Item => ({ id: `s${s.model}`, group: t('nav.serving'), label: s.model, also: `service/${s.model}`, icon: <Serving size={16} />, run: to(`/serving/${encodeURIComponent(s.model)}`) })),
    ];
  }, [jobs, models, services, t, language, theme.now]);
}
