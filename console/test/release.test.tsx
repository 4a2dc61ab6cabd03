import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { MemoryRouter } from 'react-router';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { newClient } from '../src/api/queries';
import type { Release, Service } from '../src/api/types';
import { setLanguage, startLanguage } from '../src/i18n';
import { QueueCard, rows } from '../src/pages/serving/Queue';
import { ReleaseCard } from '../src/pages/serving/Release';
import { draws, example, shape } from '../src/pages/serving/signature';

const noon = '2026-01-05T12:00:00Z';
const release: Release = {
  mode: 'canary', stable: 3, candidate: 4, percent: 5, steps: [5, 25, 50, 100], rule: {}, actor: 'user/ann', since: noon, changed: noon,
  verdict: {
    call: 'wait', reasons: ['200 requests of version 4 are needed, and there are 120'], looks: 0, next: 200,
    tests: [{ name: 'errors', stable: { requests: 2400, bad: 12 }, candidate: { requests: 120, bad: 3 }, evidence: 4, needed: 40, bound: 1, margin: 0.005 }],
  },
};
const service = (r?: Release): Service => ({ model: 'net', version: 3, default: 3, versions: [], requests: 10, errors: 0, rps: 420, p50_ms: 1, p99_ms: 2, ...(r && { release: r }) });

const sent: { method: string; path: string; body: unknown }[] = [];
beforeEach(async () => {
  sent.length = 0;
  vi.stubGlobal('fetch', vi.fn((path: string, init: RequestInit = {}) => {
    if (init.method && init.method !== 'GET') sent.push({ method: init.method, path, body: init.body ? JSON.parse(init.body as string) : undefined });
    const body = path.includes('/models/') ? { name: 'net', versions: 4, latest: 4, aliases: {}, items: [{ version: 3 }, { version: 4 }] } : service(release);
    return Promise.resolve(new Response(JSON.stringify(body), { status: 200, headers: { 'Content-Type': 'application/json' } }));
  }));
  await startLanguage('en');
});
afterEach(async () => {
  cleanup();
  await setLanguage('en');
  vi.unstubAllGlobals();
});

const show = (s: Service) => render(<MantineProvider env="test"><QueryClientProvider client={newClient()}><MemoryRouter><ReleaseCard s={s} /></MemoryRouter></QueryClientProvider></MantineProvider>);

test('the slider says what a share would mean before it is moved, and moves it when it is confirmed', async () => {
  show(service(release));
  const slider = screen.getByRole('slider', { name: 'Share of version 4' });
  expect(slider).toHaveProperty('max', '99'); // at 100 % a canary has nothing to be compared with
  expect(screen.queryByRole('button', { name: /^Move to/ })).toBeNull();
  fireEvent.change(slider, { target: { value: '50' } });
  expect(screen.getByText('Of 420 requests/s now, 210 would go to version 4 and 210 to version 3.')).toBeTruthy();
  expect(sent).toEqual([]);
  fireEvent.click(screen.getByRole('button', { name: 'Move to 50%' }));
  await waitFor(() => expect(sent).toEqual([{ method: 'PUT', path: '/api/v1/services/net/release', body: { percent: 50 } }]));
});

test('a canary shows what it was compared by and what that says so far', async () => {
  show(service(release));
  expect(screen.getByText('Nothing shown yet')).toBeTruthy();
  expect(screen.getByText('2.5%')).toBeTruthy();
  expect(screen.getByText('3 / 120')).toBeTruthy();
  expect(screen.getByText('4 of 40 needed')).toBeTruthy();
  await setLanguage('zh');
  expect(await screen.findByText('尚无定论')).toBeTruthy();
});

test('a release is rolled back only when that is confirmed', async () => {
  show(service(release));
  fireEvent.click(screen.getByRole('button', { name: 'Roll back' }));
  expect(screen.getByText('Go back to version 3?')).toBeTruthy();
  expect(sent).toEqual([]);
  fireEvent.click(screen.getAllByRole('button', { name: 'Roll back' }).at(-1)!);
  await waitFor(() => expect(sent).toEqual([{ method: 'DELETE', path: '/api/v1/services/net/release?outcome=rolled_back', body: undefined }]));
});

test('blue/green switches all at once, and a shadow says how its answers compare', () => {
  show(service({ ...release, mode: 'blue-green', percent: 0, steps: null, verdict: undefined }));
  expect(screen.queryByRole('slider')).toBeNull();
  fireEvent.click(screen.getByRole('button', { name: 'Switch to version 4' }));
  cleanup();
  show(service({ ...release, mode: 'shadow', percent: 20, steps: null, verdict: undefined, copies: { compared: 500, dropped: 2, failed: 1, rows: 500, agreed: 495, max_abs: 0.03, stable_ms: 0.1, shadow_ms: 0.2, error: 'too slow' } }));
  expect(screen.getByText('99.00%')).toBeTruthy();
  expect(screen.getByText('Of 420 requests/s now, 84 would be copied to version 4.')).toBeTruthy();
});

test('a release starts from the dialog, as a canary unless another mode is picked', async () => {
  show(service());
  fireEvent.click(await screen.findByRole('button', { name: 'Start a release' }));
  fireEvent.click(screen.getAllByRole('button', { name: 'Start a release' }).at(-1)!);
  await waitFor(() => expect(sent).toEqual([{ method: 'PUT', path: '/api/v1/services/net/release', body: { candidate: 4, mode: 'canary', percent: 10 } }]));
});

test('the queue shows batches by their rows and what was refused', () => {
  render(<MantineProvider env="test"><QueueCard q={{ waiting: 3, running: 1, batches: 10, rows: 38, padding: 0, mean_rows: 3.8, sizes: [5, 0, 5], wait_p50_ms: 0.2, wait_p99_ms: 4, shed_full: 0, shed_late: 7, left: 1 }} /></MantineProvider>);
  expect(screen.getByText('0 full, 7 too late')).toBeTruthy();
  expect(screen.getAllByRole('listitem').map((li) => li.textContent)).toEqual(['150%', '20%', '3–450%']);
  expect([0, 1, 2, 3, 4].map(rows)).toEqual(['1', '2', '3–4', '5–8', '9–16']);
});

test('a digit is drawn only for a model that reads one; others get a request to begin with', () => {
  const v = (inputs: { name: string; type: string; shape: number[] }[], outputs = [{ name: 'y', type: 'float32', shape: [-1, 10] }]) => ({ version: 1, state: 'AVAILABLE' as const, inputs, outputs });
  expect(draws(v([{ name: 'x', type: 'float32', shape: [-1, 28, 28] }]))).toBe(true);
  expect(draws(v([{ name: 'x', type: 'float32', shape: [-1, 12] }]))).toBe(false);
  expect(draws(undefined)).toBe(true);
  const two = v([{ name: 'x', type: 'float32', shape: [-1, 2] }, { name: 's', type: 'bytes', shape: [-1] }]);
  expect(draws(two)).toBe(false);
  expect(JSON.parse(example(two))).toEqual({ inputs: { x: [[0, 0]], s: ['text'] } });
  expect(example(v([{ name: 'x', type: 'float32', shape: [-1, 3] }]))).toBe('{"instances":[[0,0,0]]}');
  expect(shape(two.inputs[0]!)).toBe('x float32[?, 2]');
});
