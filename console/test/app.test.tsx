import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { App } from '../src/App';
import { setLanguage, startLanguage } from '../src/i18n';

const overview = { version: 'v1', uptime_seconds: 60, nodes: [], jobs: { running: 1 }, cpu_used: 2, cpu_total: 4, memory_used: 0, memory_total: 1, models: 1, services: 0, rps: 0, p99_ms: 0, actions_24h: 0, events: [] };
let me: unknown;
let posted: unknown[];

beforeEach(async () => {
  me = null;
  posted = [];
  history.replaceState(null, '', '/');
  await startLanguage('en');
  vi.stubGlobal('fetch', async (url: string, init: RequestInit = {}) => {
    const path = url.replace('/api/v1', '').replace(/\?.*/, '');
    const json = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status });
    if (path === '/session' && init.method === 'POST') {
      posted.push(JSON.parse(String(init.body)));
      if ((posted.at(-1) as { code?: string }).code === 'used') return json({ kind: 'unauthenticated', message: 'the link was used already' }, 401);
      return json((me = { name: 'admin', role: 'admin', via: 'link' }));
    }
    if (!me) return json({ message: 'sign in' }, 401);
    if (path === '/session') return json(me);
    if (path === '/overview') return json(overview);
    if (path === '/events') return new Response(new ReadableStream());
    return json({ items: [] });
  });
});
afterEach(() => { cleanup(); vi.unstubAllGlobals(); });

test('a sign-in link is used once, leaves the address and leads to the overview', async () => {
  history.replaceState(null, '', '/signin#one-time');
  render(<App />);
  await screen.findByText('CPU in use', {}, { timeout: 30_000 });
  expect(posted).toEqual([{ code: 'one-time' }]);
  expect(location.hash).toBe('');
  expect(location.pathname).toBe('/');
});

test('a link that was used says so and offers the form', async () => {
  history.replaceState(null, '', '/signin#used');
  render(<App />);
  expect((await screen.findByRole('alert', {}, { timeout: 30_000 })).textContent).toContain('the link was used already');
  expect(screen.getByLabelText(/^Password/)).toBeTruthy();
});

test('who is not signed in comes to sign in and back to where they were', async () => {
  history.replaceState(null, '', '/audit');
  render(<App />);
  fireEvent.change(await screen.findByLabelText(/^Name/, {}, { timeout: 30_000 }), { target: { value: 'admin' } });
  fireEvent.change(screen.getByLabelText(/^Password/), { target: { value: 'secret' } });
  fireEvent.click(screen.getByRole('button', { name: 'Sign in' }));
  await waitFor(() => expect(location.pathname).toBe('/audit'), { timeout: 30_000 });
  expect(posted).toEqual([{ name: 'admin', password: 'secret' }]);
});

test('the palette opens by key, finds, and goes; g and a letter goes too; the language changes in place', async () => {
  me = { name: 'admin', role: 'admin', via: 'link' };
  render(<App />);
  await screen.findByText('CPU in use', {}, { timeout: 30_000 });
  fireEvent.keyDown(document.body, { key: 'k', ctrlKey: true });
  const field = await screen.findByRole('combobox', {}, { timeout: 30_000 });
  fireEvent.change(field, { target: { value: 'audit log' } });
  expect(screen.getAllByRole('option')[0]!.textContent).toContain('Audit log');
  fireEvent.keyDown(field, { key: 'Enter' });
  await waitFor(() => expect(location.pathname).toBe('/audit'));
  fireEvent.keyDown(document.body, { key: 'g' });
  fireEvent.keyDown(document.body, { key: 'j' });
  await waitFor(() => expect(location.pathname).toBe('/jobs'));
  await setLanguage('zh');
  await waitFor(() => expect(screen.getByRole('heading', { level: 1 }).textContent).toBe('作业'));
  expect(document.documentElement.lang).toBe('zh-CN');
});
