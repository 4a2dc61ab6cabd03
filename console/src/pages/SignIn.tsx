import { Button, PasswordInput, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState, type FormEvent } from 'react';
import { Navigate, useLocation, useNavigate } from 'react-router';
import { post } from '../api/client';
import { useMe } from '../api/queries';
import type { Me } from '../api/types';
import { useT } from '../i18n';
import { LanguageSwitch, Logo, ThemeSwitch } from '../shell/Shell';
import { Command, Problem, useTitle } from '../ui/parts';

/** Signs in by the one-time link (/signin#CODE) that the server prints, or by name and password. */
export default function SignIn() {
  const { t } = useT();
  useTitle(t('signin.title'));
  const client = useQueryClient();
  const navigate = useNavigate();
  const from = (useLocation().state as { from?: string } | null)?.from ?? '/';
  const { data: me } = useMe();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();

  const enter = async (body: { code: string } | { name: string; password: string }) => {
    setBusy(true);
    setError(undefined);
    try {
      const me = await post<Me>('/session', body);
      // The look at the session that began before would say that there is none.
      await client.cancelQueries({ queryKey: ['session'] });
      client.setQueryData(['session'], me);
      void navigate(from, { replace: true });
    } catch (err) {
      setError(err);
    } finally {
      setBusy(false);
    }
  };

  // The code is taken out of the address before anything else can read it; it is good for one use. A link that is opened
  // where this page is shown already changes the address alone.
  const last = useRef('');
  useEffect(() => {
    const take = () => {
      const code = decodeURIComponent(location.hash.slice(1));
      if (!code || code === last.current) return;
      last.current = code;
      history.replaceState(history.state, '', location.pathname);
      void enter({ code });
    };
    take();
    addEventListener('hashchange', take);
    return () => removeEventListener('hashchange', take);
  }, []);

  if (me && !busy && !error) return <Navigate to={from} replace />;
  const submit = (e: FormEvent) => {
    e.preventDefault();
    void enter({ name, password });
  };
  return (
    <div className="signin">
      <div className="signin-tools"><LanguageSwitch /><ThemeSwitch /></div>
      <main className="signin-card" id="main">
        <p className="brand"><Logo size={24} />{t('product')}</p>
        <h1>{t('signin.title')}</h1>
        {error !== undefined && <Problem error={error} />}
        <form onSubmit={submit}>
          <TextInput label={t('signin.name')} name="username" autoComplete="username" required value={name} onChange={(e) => setName(e.currentTarget.value)} />
          <PasswordInput
            label={t('signin.password')} name="password" autoComplete="current-password" required value={password} onChange={(e) => setPassword(e.currentTarget.value)}
            visibilityToggleButtonProps={{ 'aria-label': t('signin.show') }}
          />
          <Button type="submit" loading={busy} fullWidth>{t('sign_in')}</Button>
        </form>
        <div className="dim">
          <p style={{ marginBottom: 6 }}>{t('signin.link')}</p>
          <Command text="lineshaft users link admin" />
        </div>
      </main>
    </div>
  );
}
