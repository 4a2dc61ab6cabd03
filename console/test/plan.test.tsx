import { QueryClientProvider } from '@tanstack/react-query';
import { MantineProvider } from '@mantine/core';
import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { MemoryRouter, useLocation } from 'react-router';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { applier, newClient } from '../src/api/queries';
import type { Plan as Body, Running } from '../src/api/types';
import { setLanguage, startLanguage } from '../src/i18n';
import { Outlook } from '../src/pages/job/Outlook';
import { Plan } from '../src/pages/jobs/Plan';
import { called, firstAfter, fit, layout, pan, ticks, zoom } from '../src/pages/jobs/layout';
import { part, whole } from '../src/pages/jobs/shares';

const noon = Date.UTC(2026, 0, 5, 12);
const at = (s: number) => new Date(noon + s * 1000).toISOString();
const run = (job: number, node: string, from: number, until?: number, accelerators?: string[]): Running => ({
  job, name: `job-${job}`, owner: 'ann', queue: 'default', state: 'running', priority: 0, preemptible: false,
  placements: [{ task: 0, node, ...(accelerators && { accelerators }) }], since: at(from), ...(until !== undefined && { until: at(until) }),
});
const body = (running: Running[]): Body => ({
  now: at(0), running,
  queues: [{ name: 'research', guaranteed: { cpu: 2 }, limit: { cpu: 6 }, held: { cpu: 4 }, share: 0.5, resource: 'cpu', running: 1, waiting: 2 }],
  waiting: [
    { job: 8, name: 'later', owner: 'ann', queue: 'research', priority: 0, position: 1, since: at(-60), reason: 'waits for cpu (needs 2, offered 0)', earliest: at(600), confidence: 0.9, duration_seconds: 300 },
    { job: 9, name: 'sometime', owner: 'ann', queue: 'research', priority: 0, position: 2, since: at(-30), reason: 'waits for accelerators (needs 8, offered 0)' },
  ],
});

test('work at the same time on one node stands on rows of its own, and what follows takes the first that is free', () => {
  const l = layout(body([run(1, 'b', -100, 50), run(2, 'b', -50, 100), run(3, 'a', -10, 10, ['0', '1'])]), 'node', 'Waiting');
  expect(l.rows.map((r) => [r.label, r.bars.map((b) => b.job)])).toEqual([['a · 0', [3]], ['a · 1', [3]], ['b', [1]], ['', [2]], ['Waiting', [8]]]);
  expect(l.bars.at(-1)).toMatchObject({ waits: true, from: noon + 600_000, to: noon + 900_000, row: 4 });
  expect([l.lo, l.hi]).toEqual([noon - 100_000, noon + 900_000]);
});

test('what is reserved stands where it will be, beside what runs there, and is no job', () => {
  const plan: Body = { ...body([run(1, 'a', -100, 50, ['0'])]), reserved: [{ name: 'course', user: 'alice', from: at(20), to: at(3600), places: [{ node: 'a', accelerators: ['0'] }, { node: 'c' }] }] };
  const l = layout(plan, 'node', 'Waiting');
  expect(l.rows.map((r) => [r.label, r.bars.map(called)])).toEqual([['a · 0', ['job-1 #1']], ['', ['course']], ['c', ['course']], ['Waiting', ['later #8']]]);
  expect(l.bars[1]).toMatchObject({ job: 0, reserved: 'alice', where: 'a · 0, c' });
  expect(layout(plan, 'job', 'Waiting').rows.map((r) => r.label)).toEqual(['job-1 #1', 'course', 'later #8']);
});

test('by job every job has a row, and what has no known end has none', () => {
  const l = layout(body([run(1, 'b', -100), run(2, 'b', -50, 100)]), 'job', 'Waiting');
  expect(l.rows.map((r) => r.label)).toEqual(['job-1 #1', 'job-2 #2', 'later #8']);
  expect(l.bars[0]!.to).toBe(Infinity);
  expect(firstAfter(l.rows[1]!.bars, noon + 99_000)).toBe(0);
  expect(firstAfter(l.rows[1]!.bars, noon + 100_000)).toBe(1);
});

test('zooming keeps the time under the pointer, within limits', () => {
  const v = { from: 0, to: 100_000, top: 7 };
  const in2 = zoom(v, 25_000, 0.5);
  expect(in2).toEqual({ from: 12_500, to: 62_500, top: 7 });
  expect(zoom(v, 50_000, 1e-9).to - zoom(v, 50_000, 1e-9).from).toBe(10_000);
  expect(pan(v, -1000)).toEqual({ from: -1000, to: 99_000, top: 7 });
});

test('the first view holds all that is to come and never less than ten minutes of it', () => {
  const l = layout(body([run(1, 'a', -86_400, 60)]), 'job', 'Waiting');
  const v = fit(l, noon);
  expect(v.to).toBeGreaterThan(noon + 900_000);
  expect(v.from).toBeGreaterThan(noon - 1_000_000);
});

test('marks of time are round and not too near to each other', () => {
  const { at: marks, step } = ticks({ from: noon - 1234, to: noon + 3_600_000, top: 0 }, 840);
  expect(step).toBe(900_000);
  expect(marks.every((m) => m % 900_000 === 0)).toBe(true);
});

test('a quota is a part of what the nodes have, of the resource that is held most where it names that', () => {
  const hall = whole([{ name: 'a', cpu: 8, memory: 16 * 2 ** 30, disk: 0, cordoned: false, accelerators: [{ id: '0' }, { id: '1' }] }]);
  expect(part({ cpu: 2, accelerators: 1 }, hall, 'cpu')).toBe(0.25);
  expect(part({ cpu: 2, accelerators: 1 }, hall, 'memory')).toBe(0.5);
  expect(part({}, hall, 'cpu')).toBeUndefined();
});

function Where() { return <output>{useLocation().pathname}</output>; }
const shown = (node: React.ReactNode) => render(<MantineProvider><QueryClientProvider client={newClient()}><MemoryRouter>{node}<Where /></MemoryRouter></QueryClientProvider></MantineProvider>);

beforeEach(async () => {
  await startLanguage('en');
  await setLanguage('en');
  vi.stubGlobal('fetch', async (url: string) => new Response(JSON.stringify(url.includes('/plan') ? body([run(1, 'vm', -100, 5000)]) : { nodes: [{ name: 'vm', cpu: 8, memory: 1, disk: 1, cordoned: false }] })));
});
afterEach(() => { cleanup(); vi.unstubAllGlobals(); vi.useRealTimers(); });

test('keys select work, say it in words and open its job', async () => {
  shown(<Plan />);
  const chart = await screen.findByRole('application', { name: 'Chart of the plan: 1 jobs run, 2 wait' });
  fireEvent.keyDown(chart, { key: 'ArrowDown' });
  expect(screen.getByText(/runs in default on vm/)).toBeTruthy();
  fireEvent.keyDown(chart, { key: 'ArrowDown' });
  expect(screen.getByText(/waits in research, foreseen .* 90% sure/)).toBeTruthy();
  for (const key of ['+', '-', 'ArrowLeft', 'ArrowRight', 'PageDown', '0']) expect(fireEvent.keyDown(chart, { key })).toBe(false);
  fireEvent.keyDown(chart, { key: 'Enter' });
  expect(screen.getAllByRole('status')[0]!.textContent).toBe('/jobs/8');
});

test('the plan says in words who waits for what, and what queues hold, are sure of and may hold', async () => {
  shown(<Plan />);
  await screen.findByText('waits for accelerators (needs 8, offered 0)');
  expect(await screen.findByRole('img', { name: 'research: 50% of CPU, guaranteed 2 cores, at most 6 cores' })).toBeTruthy();
});

test('a job that waits tells its turn, its share, its start and every change that starts it now with whom it stops', async () => {
  shown(<Outlook o={{ queue: 'research', position: 2, of: 7, share: 0.25, resource: 'cpu', priority: 0, earliest: new Date(Date.now() + 600_500).toISOString(), confidence: 0.9, changes: [{ field: 'resources.cpu', from: '4', to: '2', means: 'two cores less', stops: ['job/3'] }] }} />);
  expect(screen.getByText('2 of 7')).toBeTruthy();
  expect(screen.getByText(/in 10 min/)).toBeTruthy();
  expect(screen.getByText('90% sure')).toBeTruthy();
  expect(screen.getByText('two cores less')).toBeTruthy();
  expect(screen.getByText('stops job/3')).toBeTruthy();
});

test('however many jobs change, the plan is read once a second', () => {
  vi.useFakeTimers();
  const client = newClient();
  const asked = vi.spyOn(client, 'invalidateQueries');
  const apply = applier(client);
  const plans = () => asked.mock.calls.filter(([f]) => f?.queryKey?.[0] === 'plan').length;
  for (let i = 0; i < 300; i++) {
    apply({ seq: i, time: '', topic: 'jobs', kind: 'job.started', subject: `job/${i}`, actor: '', data: { id: i, state: 'running', spec: {} } });
    vi.advanceTimersByTime(10);
  }
  expect(plans()).toBe(3);
});
