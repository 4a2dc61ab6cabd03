import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';
import { putJob } from '../src/api/queries';
import type { Job, Spec } from '../src/api/types';
import { setLanguage, startLanguage } from '../src/i18n';
import { counts, state, values } from '../src/pages/job/Array';
import { Asks } from '../src/ui/asks';

const member = (id: number, index: number): Job => ({
  id, name: 'sweep', kind: 'command', owner: 'ann', state: 'queued', reason: '', priority: 0, attempt: 1, retries_left: 0, created: '2026-01-01T00:00:00Z', tasks: [],
  spec: { name: 'sweep', resources: {}, array: { over: { RATE: ['0.1', '0.01'], MODE: ['a', 'b', 'c'] } } }, array: { id: 3, index, count: 6 },
});
const pages = (...items: Job[]) => ({ pages: [{ items }], pageParams: [''] });

afterEach(cleanup);

test('a member of an array has a line of its own only where its array is listed', () => {
  const folded = { ...member(3, 0), array: { id: 3, index: 0, count: 6, members: { queued: 6 } } };
  expect(putJob(pages(folded), { ...member(5, 2), state: 'running' }, '')!.pages[0]!.items).toEqual([folded]);
  expect(putJob(pages(folded), { ...member(3, 0), state: 'running' }, '')!.pages[0]!.items).toEqual([folded]);
  expect(putJob(pages(member(3, 0)), member(5, 2), '', 3)!.pages[0]!.items!.map((j) => j.id)).toEqual([5, 3]);
  expect(putJob(pages(member(3, 0)), { ...member(9, 0), array: { id: 9, index: 0, count: 2 } }, '', 3)!.pages[0]!.items!.map((j) => j.id)).toEqual([3]);
});

test('the values of a member are those that the server gives it: the last name changes fastest', () => {
  expect([0, 1, 2, 5].map((i) => values(member(3 + i, i)).map(([k, v]) => `${k}=${v}`).join(' '))).toEqual(['MODE=a RATE=0.1', 'MODE=a RATE=0.01', 'MODE=b RATE=0.1', 'MODE=c RATE=0.01']);
});

test('what goes on comes before what has ended', () => {
  const m = { id: 3, index: 0, count: 6, members: { succeeded: 3, failed: 1, queued: 2 } };
  expect(state(m)).toBe('queued');
  expect(state({ ...m, members: { succeeded: 5, failed: 1 } })).toBe('failed');
  expect(counts(m, (key) => key, 'en')).toBe('state.queued 2 · state.failed 1 · state.succeeded 3');
});

test('what a task asks for is one line in both languages', async () => {
  await startLanguage('en');
  const spec: Spec = {
    name: 'a', topology: { level: 'rack', hard: true },
    resources: { cpu: 2, memory: 2 ** 30, accelerators: 1, share: 0.25, kind: 'gpu', model: 'A100', accelerator_memory: 2 ** 33, storage: 2 ** 40, bandwidth: 1e9, watts: 300 },
  };
  render(<p><Asks spec={spec} /></p>);
  expect(await screen.findByText('2 cores · 1 GiB · 0.25 of an accelerator (gpu A100 8 GiB) · Persistent storage 1 TiB · 1 Gbit/s · 300 W · in one rack')).toBeTruthy();
  await setLanguage('zh');
  expect(await screen.findByText('2 核 · 1 GiB · 0.25 张加速卡 (gpu A100 8 GiB) · 持久存储 1 TiB · 1 Gbit/s · 300 W · 同一机柜')).toBeTruthy();
});
