import { QueryClient } from '@tanstack/react-query';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { ApiError, onSignedOut, query, refusal, request } from '../src/api/client';
import { applier, putJob } from '../src/api/queries';
import { follow, read } from '../src/api/stream';
import type { Event, Job } from '../src/api/types';

const stream = (...chunks: string[]) => new ReadableStream<Uint8Array>({
  start(c) { chunks.forEach((x) => c.enqueue(new TextEncoder().encode(x))); c.close(); },
});
const job = (id: number, state: Job['state'] = 'running'): Job =>
  ({ id, name: 'j', kind: 'train', owner: 'a', state, reason: '', priority: 0, spec: { name: 'j', resources: {} }, attempt: 1, retries_left: 0, created: '', tasks: [] });

afterEach(() => vi.restoreAllMocks());

describe('the stream', () => {
  test('is taken apart wherever it is cut', async () => {
    const text = 'retry: 1000\n: begins\n\nid: 7\nevent: jobs\ndata: {"a":\ndata: 1}\n\n: beat\n\nevent: reset\r\ndata: {}\r\n\r\n';
    for (let cut = 1; cut < text.length; cut++) {
      const got: string[][] = [];
      await read(stream(text.slice(0, cut), text.slice(cut)), (id, data, event) => got.push([id, event, data]));
      expect(got).toEqual([['7', 'jobs', '{"a":\n1}'], ['', 'reset', '{}']]);
    }
  });

  test('comes back after it broke, says where it was and that caches are stale', async () => {
    const asked: (string | undefined)[] = [];
    const said: string[] = [];
    let stop = () => {};
    await new Promise<void>((done) => {
      const fetcher = vi.fn(async (_: unknown, init?: RequestInit) => {
        asked.push((init?.headers as Record<string, string>)['Last-Event-ID']);
        if (asked.length === 2) throw new TypeError('down');
        return new Response(stream(`id: ${asked.length}\ndata: {"topic":"jobs","kind":"x"}\n\n`));
      });
      stop = follow({
        event: () => said.push('event'), state: (s) => said.push(s), refused: () => said.push('refused'),
        resumed: () => { said.push('resumed'); setTimeout(done, 10); },
      }, fetcher as never);
    });
    stop();
    expect(asked.slice(0, 3)).toEqual([undefined, '1', '1']);
    expect(said.slice(0, 6)).toEqual(['live', 'event', 'reconnecting', 'reconnecting', 'live', 'resumed']);
  });

  test('ends when the session is over', async () => {
    const refused = await new Promise((done) => follow({ event: () => {}, state: () => {}, resumed: () => {}, refused: () => done('yes') }, (async () => new Response('', { status: 401 })) as never));
    expect(refused).toBe('yes');
  });
});

describe('an event', () => {
  const of = (j: Job): Event => ({ seq: 1, time: '', topic: 'jobs', kind: 'job.progress', subject: `job/${j.id}`, actor: '', data: j });

  test('puts a job’s record into the job and into every list that shows it', () => {
    const client = new QueryClient();
    client.setQueryData(['job', 2], job(2));
    client.setQueryData(['jobs', ''], { pages: [{ items: [job(2), job(1)] }], pageParams: [''] });
    client.setQueryData(['jobs', 'running'], { pages: [{ items: [job(2)] }], pageParams: [''] });
    applier(client)(of(job(2, 'failed')));
    expect(client.getQueryData<Job>(['job', 2])!.state).toBe('failed');
    expect(JSON.stringify(client.getQueryData(['jobs', '']))).toContain('"failed"');
    expect(client.getQueryData<{ pages: { items: Job[] }[] }>(['jobs', 'running'])!.pages[0]!.items).toEqual([]);
  });

  test('puts a new job at the head of the list and leaves older ones to later pages', () => {
    const page = { pages: [{ items: [job(5), job(4)], next: '4' }], pageParams: [''] };
    expect(putJob(page, job(6), '')!.pages[0]!.items!.map((j) => j.id)).toEqual([6, 5, 4]);
    expect(putJob(page, job(3), '')!.pages[0]!.items!.map((j) => j.id)).toEqual([5, 4]);
    expect(putJob(page, job(6, 'failed'), 'running')!.pages[0]!.items!.map((j) => j.id)).toEqual([5, 4]);
  });
});

describe('a refusal', () => {
  test('keeps the server’s sentence and kind', () => {
    const e = refusal(404, '{"status":404,"kind":"not_found","message":"no model \\"x\\""}');
    expect([e.status, e.kind, e.message]).toEqual([404, 'not_found', 'no model "x"']);
    expect(refusal(502, '<html>').message).toBe('');
  });

  test('for lack of a session is told to whoever asked to know', async () => {
    vi.stubGlobal('fetch', async () => new Response('{}', { status: 401 }));
    const told = vi.fn();
    const off = onSignedOut(told);
    await expect(request('GET', '/jobs')).rejects.toBeInstanceOf(ApiError);
    await expect(request('GET', '/session')).rejects.toBeInstanceOf(ApiError);
    off();
    expect(told).toHaveBeenCalledTimes(1);
    vi.unstubAllGlobals();
  });
});

test('a query leaves out what is empty', () => {
  expect(query('/jobs', { state: '', limit: 10, after: undefined, follow: false })).toBe('/jobs?limit=10');
});
