import { Drawer, Menu, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { Suspense, lazy, useEffect, useRef, useState, type ReactNode } from 'react';
import { Link, NavLink, useLocation, useNavigate } from 'react-router';
import { call } from '../api/client';
import { useOverview } from '../api/queries';
import type { Me } from '../api/types';
import { number } from '../format';
import { setLanguage, useT } from '../i18n';
import { Keyboard, Logout, Menu as Burger, Moon, Search, Sun, User } from '../ui/icons';
import { failed } from '../ui/notify';
import { role } from '../ui/words';
import { Live, useStream } from './connection';
import { useKeys } from './keys';
import { placeOf, places } from './places';

const Palette = lazy(() => import('./Palette'));
const Help = lazy(() => import('./Help'));

export function Logo({ size = 20 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" aria-hidden="true">
      <circle cx="12" cy="12" r="5.5" /><circle cx="12" cy="12" r="1.4" fill="currentColor" />
      <path d="M12 2.5v4M12 17.5v4M2.5 12h4M17.5 12h4M5.3 5.3l2.8 2.8M15.9 15.9l2.8 2.8M18.7 5.3l-2.8 2.8M8.1 15.9l-2.8 2.8" />
    </svg>
  );
}

function Navigation({ close }: { close?: () => void }) {
  const { t, lang } = useT();
  const { data } = useOverview();
  const jobs = data && (['queued', 'starting', 'running', 'stopping'] as const).reduce((n, s) => n + (data.jobs?.[s] ?? 0), 0);
  const counts: Record<string, number | undefined> = { '/jobs': jobs, '/models': data?.models, '/serving': data?.services };
  return (
    <nav aria-label={t('nav.label')} className="side">
      <Link to="/" className="brand" onClick={close}><Logo />{t('product')}</Link>
      {places.map((p, i) => {
        const Icon = p.icon;
        return (
          <div key={p.path}>
            {places[i - 1]?.group !== p.group && <p className="group">{t(p.group)}</p>}
            <NavLink to={p.path} end={p.path === '/'} className="item" onClick={close}>
              <Icon size={16} />{t(p.key)}
              {counts[p.path] !== undefined && <span className="n">{number(counts[p.path], lang)}</span>}
            </NavLink>
          </div>
        );
      })}
      <p className="foot">{data?.version}</p>
    </nav>
  );
}

export function LanguageSwitch() {
  const { t, language } = useT();
  return (
    <div className="lang" role="group" aria-label={t('language')}>
      <button type="button" lang="en" aria-pressed={language === 'en'} aria-label="English" onClick={() => void setLanguage('en')}>EN</button>
      <button type="button" lang="zh" aria-pressed={language === 'zh'} aria-label="中文" onClick={() => void setLanguage('zh')}>中</button>
    </div>
  );
}

export function useTheme() {
  const { setColorScheme } = useMantineColorScheme();
  const now = useComputedColorScheme('light', { getInitialValueInEffect: false });
  return { now, toggle: () => setColorScheme(now === 'dark' ? 'light' : 'dark') };
}

export function ThemeSwitch() {
  const { t } = useT();
  const { now, toggle } = useTheme();
  return (
    <button type="button" className="icon" onClick={toggle} aria-label={now === 'dark' ? t('theme.light') : t('theme.dark')} title={now === 'dark' ? t('theme.light') : t('theme.dark')}>
      {now === 'dark' ? <Sun size={16} /> : <Moon size={16} />}
    </button>
  );
}

export function useSignOut() {
  const { t } = useT();
  const client = useQueryClient();
  return async () => {
    try {
      await call('DELETE', '/session');
      client.setQueryData(['session'], null);
      client.removeQueries({ predicate: (q) => q.queryKey[0] !== 'session' });
    } catch (err) {
      failed(t, err);
    }
  };
}

function Account({ me, help }: { me: Me; help: () => void }) {
  const { t } = useT();
  const signOut = useSignOut();
  return (
    <Menu position="bottom-end" width={210}>
      <Menu.Target><button type="button" className="icon" aria-label={t('account')} title={me.name}><User size={17} /></button></Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{me.name} · {role(t, me.role)}</Menu.Label>
        <Menu.Item leftSection={<Keyboard size={15} />} onClick={help}>{t('help.title')}</Menu.Item>
        <Menu.Divider />
        <Menu.Item leftSection={<Logout size={15} />} onClick={() => void signOut()}>{t('sign_out')}</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

/** What stands around every page. */
export function Shell({ me, children }: { me: Me; children: ReactNode }) {
  const { t } = useT();
  const state = useStream();
  const { pathname } = useLocation();
  const navigate = useNavigate();
  const [open, setOpen] = useState<'palette' | 'help' | 'nav' | ''>('');
  const main = useRef<HTMLElement>(null);
  const place = placeOf(pathname);
  const close = () => setOpen('');
  useKeys({ palette: () => setOpen('palette'), help: () => setOpen('help'), go: (path) => void navigate(path) });
  useEffect(() => { scrollTo(0, 0); }, [pathname]);
  const mac = /Mac|iPhone|iPad/.test(navigator.platform);
  const inner = place && place.path !== '/' && pathname.length > place.path.length ? decodeURIComponent(pathname.slice(place.path.length + 1)) : '';

  return (
    <div className="shell">
      <a className="skip" href="#main" onClick={(e) => { e.preventDefault(); main.current?.focus(); }}>{t('skip')}</a>
      <Navigation />
      <Drawer opened={open === 'nav'} onClose={close} size={236} padding={0} withCloseButton={false} title={undefined} aria-label={t('nav.label')}>
        <Navigation close={close} />
      </Drawer>
      <div>
        <header className="top">
          <button type="button" className="icon burger" aria-label={t('nav.open')} aria-expanded={open === 'nav'} onClick={() => setOpen('nav')}><Burger size={18} /></button>
          <h1>{place ? inner ? <Link to={place.path} style={{ color: 'inherit' }}>{t(place.key)}</Link> : t(place.key) : t('product')}</h1>
          {inner && <span className="where clip">{inner === 'new' ? t('submit.title') : inner}</span>}
          <span className="grow" />
          <button type="button" className="cmdk" onClick={() => setOpen('palette')} aria-label={t('palette.open')} aria-keyshortcuts="Control+K Meta+K">
            <Search size={15} /><span>{t('palette.hint')}</span><kbd>{mac ? '⌘K' : 'Ctrl K'}</kbd>
          </button>
          <Live state={state} />
          <LanguageSwitch />
          <ThemeSwitch />
          <Account me={me} help={() => setOpen('help')} />
        </header>
        <main id="main" ref={main} tabIndex={-1}>{children}</main>
      </div>
      <Suspense>
        {open === 'palette' && <Palette close={close} help={() => setOpen('help')} />}
        {open === 'help' && <Help close={close} />}
      </Suspense>
    </div>
  );
}
