import { describe, expect, test } from 'vitest';
import { ago, bytes, percent, span, toBytes, value } from '../src/format';
import { append } from '../src/pages/job/Log';
import { plots } from '../src/pages/job/Curves';
import { nameFrom } from '../src/pages/models/Upload';
import { History } from '../src/pages/serving/history';
import { placeIn } from '../src/pages/submit/Editor';
import { rank } from '../src/shell/rank';
import { range } from '../src/ui/Chart';
import { en } from '../src/i18n/en';
import { zh } from '../src/i18n/zh';
import type { T } from '../src/i18n';
import { pageOf, waits } from '../src/ui/words';
import { yaml } from '../src/ui/yaml';

describe('quantities', () => {
  test('are written in the reader’s language', () => {
    expect(bytes(3 * 2 ** 30, 'en')).toBe('3 GiB');
    expect(bytes('512MiB', 'zh-CN')).toBe('512 MiB');
    expect(toBytes('nonsense')).toBeUndefined();
    expect(span(3840, 'en')).toBe('1 h 4 min');
    expect(span(3840, 'zh-CN')).toBe('1 小时 4 分');
    expect(span(3600, 'en')).toBe('1 h');
    expect(span(0, 'en')).toBe('0 s');
    expect(ago(new Date(0), 'zh-CN', 780_000)).toBe('13 分钟前');
    expect(percent(0.98381, 'en', 2)).toBe('98.38%');
    expect(value(0.00001234, 'en')).toBe('1.23e-5');
    expect(value(undefined, 'en')).toBe('–');
  });
});

describe('a log', () => {
  test('loses the colours of a terminal and keeps the last state of a redrawn line', () => {
    expect(append('', '\x1b[32mok\x1b[0m\r\n10%\r20%\r30%\nend')).toBe('ok\n30%\nend');
  });

  test('keeps its end in whole lines when it is long', () => {
    const long = append('', Array.from({ length: 60_000 }, (_, i) => `line ${i}`).join('\n'));
    expect(long.length).toBeLessThanOrEqual(256 * 1024);
    expect(long).toMatch(/^line \d+\n/);
    expect(long.endsWith('line 59999')).toBe(true);
  });
});

describe('curves', () => {
  const point = (seq: number, name: string, epoch: number, step: number) => ({ seq, time: '', name, epoch, step, value: seq });

  test('pair a metric with its validation and run by epoch where each has one point', () => {
    const got = plots([point(1, 'loss', 1, 9), point(2, 'val_loss', 1, 9), point(3, 'loss', 2, 18), point(4, 'accuracy', 1, 9)], 'training', 'validation');
    expect(got.map((p) => [p.name, p.x, p.series.map((s) => [s.name, s.values])])).toEqual([
      ['loss', [1, 2], [['training', [1, 3]], ['validation', [2, null]]]], ['accuracy', [1], [['accuracy', [4]]]],
    ]);
  });

  test('run by step where an epoch has several points', () => {
    expect(plots([point(1, 'loss', 1, 5), point(2, 'loss', 1, 10)], 't', 'v')[0]!.x).toEqual([5, 10]);
  });

  test('never have an empty range', () => {
    for (const [lo, hi] of [[null, null], [1, 1], [0, 0], [-2, 3], [NaN, NaN]] as const) {
      const [a, b] = range(lo, hi);
      expect(a).toBeLessThan(b);
    }
    expect(range(0.1, 5, 0)[0]).toBe(0);
  });
});

describe('a specification', () => {
  test('is shown as YAML without what is empty', () => {
    expect(yaml({ name: 'mnist', env: {}, data: ['mnist'], note: 'true', train: { layers: [{ type: 'dense', units: 512 }, { type: 'dropout', rate: 0.2 }], optimizer: { type: 'adam' } }, resources: { memory: '1GiB', gone: null } }))
      .toBe('name: mnist\ndata: [mnist]\nnote: "true"\ntrain:\n  layers:\n    - {type: dense, units: 512}\n    - {type: dropout, rate: 0.2}\n  optimizer: {type: adam}\nresources:\n  memory: 1GiB');
  });

  test('has its fault where the server says', () => {
    expect(placeIn('line 4, column 3: unknown field "resorces"; did you mean "resources"?')).toEqual({ line: 4, column: 3 });
    expect(placeIn('tasks is 0')).toBeUndefined();
  });
});

describe('a service’s rates', () => {
  const look = (requests: number) => [{ model: 'm', versions: [], requests, errors: 0, rps: 1, p50_ms: 1, p99_ms: 2 }];

  test('are differences of its counters, and none across a restart', () => {
    const h = new History();
    h.add(look(10), 1000);
    h.add(look(30), 3000);
    h.add(look(0), 5000);
    expect(h.of('m').requests).toEqual([null, 10, null]);
    expect(h.of('other').time).toEqual([]);
  });
});

test('a subject has its page', () => {
  expect(pageOf('job/12')).toBe('/jobs/12');
  expect(pageOf('model/mnist:3')).toBe('/models/mnist');
  expect(pageOf('service/net.v2')).toBe('/serving/net.v2');
  expect(pageOf('user/admin')).toBeUndefined();
});

test('a file’s name becomes a model’s', () => {
  expect(nameFrom('my model (1).keras')).toBe('my-model-1');
  expect(nameFrom('模型.h5')).toBe('model');
});

test('the palette prefers a start of a word', () => {
  expect(rank('job', 'Jobs /jobs')).toBeGreaterThan(rank('job', 'my-xjob'));
  expect(rank('jb', 'Jobs')).toBeGreaterThan(0);
  expect(rank('zzz', 'Jobs')).toBe(0);
});

test('why a job waits is said in the reader’s language', () => {
  const say = (words: Record<string, string>): T => (key, vars = {}) =>
    Object.entries(vars).reduce((text, [name, v]) => text.replace(`{${name}}`, String(v)), words[key] ?? key);
  const reasons = [{ constraint: 'cpu', needed: '2', offered: '0', detail: '' }, { constraint: 'memory', needed: '8 GiB', offered: '1 GiB', detail: '' }];
  const job = { reason: 'waits for cpu (needs 2, offered 0) and memory (needs 8 GiB, offered 1 GiB)', reasons };
  expect(waits(say(en), job)).toBe('waits for CPU (needs 2, offered 0) and Memory (needs 8 GiB, offered 1 GiB)');
  expect(waits(say(zh), job)).toBe('等待CPU（需要 2，可用 0）、内存（需要 8 GiB，可用 1 GiB）');
  expect(waits(say(zh), { ...job, state: 'running', reason: '1 of 2 replicas run' })).toBe('1 of 2 replicas run');
  expect(waits(say(zh), {})).toBe('');
});
