// A stand-in for the server, with invented jobs that move, to work on the console without one: states that a real
// server shows rarely (a proposed action, a job that cannot be placed, a version that fails to load) are always there.
//   node dev/mock.mjs [port]    then    LINESHAFT_URL=http://127.0.0.1:PORT npm run dev    or open it: it serves dist/ too
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { extname, join, normalize } from 'node:path';

const port = Number(process.argv[2] ?? 8099);
const dist = new URL('../dist/', import.meta.url).pathname;
const ago = (s) => new Date(Date.now() - s * 1000).toISOString();
const digest = (n) => 'sha256:' + (n * 0x9e3779b1 >>> 0).toString(16).padStart(8, '0').repeat(8);
const isolation = [
  { name: 'uid', enforced: true, detail: 'runs as user 231072, its owner’s own' },
  { name: 'landlock', enforced: true, detail: 'ABI 7: only the task’s folder can be written' },
  { name: 'namespaces', enforced: true, detail: 'pid, mount, ipc' },
  { name: 'memory', enforced: true, detail: 'cgroup v1, 1 GiB' },
  { name: 'network', enforced: false, detail: 'host network, as asked' },
];
const train = {
  preprocess: { scale: 255 }, optimizer: { type: 'adam', learning_rate: 0.001 }, loss: 'categorical_crossentropy', metrics: ['accuracy'], batch: 128, epochs: 20, seed: 1,
  layers: [{ type: 'dense', units: 512, activation: 'relu' }, { type: 'dropout', rate: 0.2 }, { type: 'dense', units: 512, activation: 'relu' }, { type: 'dropout', rate: 0.2 }, { type: 'dense', units: 10, activation: 'softmax' }],
};
const spec = (name, more) => ({ name, kind: 'command', tasks: 1, resources: { cpu: 2, memory: '1GiB', disk: '1GiB', processes: 512 }, isolation: { network: 'host' }, grace: '10s', ...more });
const task = (state, more) => ({ index: 0, attempt: state === 'queued' ? 0 : 1, state, node: 'hall-1', pid: 4242, exit_code: 0, isolation, ...more });
const job = (id, name, kind, state, more = {}) => ({
  id, name, kind, owner: 'admin', state, reason: '', priority: 0, spec: spec(name, kind === 'train' ? { kind, train, data: ['mnist'], register: 'mnist' } : { kind, command: ['python3', 'main.py', '--rate=0.1'] }),
  attempt: 1, retries_left: 2, created: ago(900 - id), tasks: [task(state)], ...more,
});
const at = (epoch) => ({ epoch, epochs: 20, fraction: epoch / 20, eta_seconds: (20 - epoch) * 3, loss: 0.3 / (epoch + 0.6), accuracy: 1 - 0.1 / (epoch + 0.8), val_loss: 0.26 / (epoch + 0.9) + 0.045, val_accuracy: 1 - 0.09 / (epoch + 1) - 0.012 });
const jobs = [
  job(6, 'llm-ft-finance', 'command', 'queued', {
    reason: 'waits: no node has enough accelerators', tasks: [task('queued', { node: '', pid: 0, isolation: undefined })],
    reasons: [{ constraint: 'accelerators', needed: '16', offered: '2', detail: 'hall-1 has 2 of any model; 1 node is too small' }, { constraint: 'memory', needed: '512 GiB', offered: '22.5 GiB', detail: 'hall-1 has 22.5 GiB free' }],
  }),
  job(5, 'mnist-wide', 'train', 'running', { started: ago(31), progress: at(7) }),
  job(4, 'web', 'service', 'running', { started: ago(700), spec: spec('web', { kind: 'service', command: ['python3', '-m', 'http.server'], tasks: 2 }), tasks: [task('running'), task('running', { index: 1, attempt: 3, restarts: 2, pid: 4310 })] }),
  job(3, 'sweep', 'command', 'failed', { started: ago(600), finished: ago(580), reason: 'task 0 ended with exit code 137: over its memory limit of 1 GiB', tasks: [task('failed', { exit_code: 137, reason: 'oom', started: ago(600), ended: ago(580) })] }),
  job(2, 'clean-up', 'command', 'canceled', { started: ago(800), finished: ago(790) }),
  job(1, 'mnist', 'train', 'succeeded', { started: ago(880), finished: ago(810), progress: { ...at(20), fraction: 1, eta_seconds: 0, val_accuracy: 0.9838, accuracy: 0.9961 }, model: { name: 'mnist', version: 1 }, tasks: [task('succeeded', { started: ago(880), ended: ago(810) })] }),
];
const soon = (s) => new Date(Date.now() + s * 1000).toISOString();
/** The plan; with LINESHAFT_MOCK_JOBS=1000 a hall full of work. */
const many = Number(process.env.LINESHAFT_MOCK_JOBS ?? 0);
const appraisal = { planned: 1.42, bound: 1.5, gap: 0.053, prices: [{ resource: 'accelerators', model: 'H100', worth: 0.5, has: 2, where: 'hall-1', nodes: 1 }] };
const plan = () => ({
  now: new Date().toISOString(), appraisal,
  queues: [
    { name: 'research', weight: 2, guaranteed: { accelerators: 1, cpu: 4 }, held: { cpu: 2, accelerators: 1 }, share: 0.5, resource: 'accelerators', running: 1, waiting: 1, lately: 0.31, by: [{ user: 'ann', share: 0.5, resource: 'accelerators', lately: 0.28 }, { user: 'ben', share: 0, resource: 'accelerators', lately: 0.03 }] },
    { name: 'serving', weight: 1, limit: { cpu: 6 }, held: { cpu: 2 }, share: 0.25, resource: 'cpu', running: 1, waiting: 1 },
    { name: 'batch', weight: 1, guaranteed: { cpu: 1 }, limit: { cpu: 2 }, held: {}, share: 0, resource: 'cpu', running: 0, waiting: 1 },
  ],
  caps: [{ name: 'hall', watts: 40000, idle: 4200, drawn: 21400 }, { name: 'feed-a', parent: 'hall', watts: 20000, idle: 2100, drawn: 19300 }],
  reserved: [{ name: 'course', user: 'alice', from: soon(900), to: soon(4500), places: [{ node: 'hall-1', accelerators: ['0'] }, { node: 'hall-1', accelerators: ['1'] }] }],
  running: [
    { job: 5, name: 'mnist-wide', owner: 'admin', queue: 'research', state: 'running', priority: 0, preemptible: true, placements: [{ task: 0, node: 'hall-1', accelerators: ['0'] }], since: ago(331), until: soon(1240) },
    { job: 4, name: 'web', owner: 'admin', queue: 'serving', state: 'running', priority: 0, preemptible: false, placements: [{ task: 0, node: 'hall-1' }, { task: 1, node: 'hall-1' }], since: ago(700) },
    ...Array.from({ length: many }, (_, i) => ({ job: 100 + i, name: `sweep-${i}`, owner: 'ann', queue: 'batch', state: i % 50 ? 'running' : 'stopping', priority: 0, preemptible: true, placements: [{ task: 0, node: `hall-${2 + (i % 60)}`, accelerators: [String(i % 8)] }], since: ago((i * 37) % 4000), until: i % 9 ? soon(60 + ((i * 91) % 7000)) : undefined })),
  ],
  waiting: [
    { job: 6, name: 'llm-ft-finance', owner: 'admin', queue: 'research', priority: 5, position: 1, since: ago(900), reason: 'waits for accelerators (needs 16, offered 2)' },
    { job: 8, name: 'evaluate', owner: 'ann', queue: 'batch', priority: 0, position: 2, since: ago(240), reason: 'waits for accelerators (needs 1, offered 0)', earliest: soon(1240), confidence: 0.9, duration_seconds: 900 },
    { job: 9, name: 'index', owner: 'bob', queue: 'serving', priority: 0, position: 3, since: ago(60), reason: 'waits for cpu (needs 6, offered 4)', earliest: soon(1900), confidence: 0.7 },
  ],
});
const outlook = {
  queue: 'research', position: 1, of: 3, share: 0.5, resource: 'accelerators', priority: 5, earliest: soon(1240), confidence: 0.9, plan: appraisal,
  changes: [{ field: 'tasks', from: '2', to: '1', means: 'half as many tasks at a time' }, { field: 'priority', from: '5', to: '10', means: 'it goes before what runs now', stops: ['job/5'] }],
};
const points = (j) => {
  const out = [];
  for (let e = 1; e <= (j.progress?.epoch ?? 0); e++) {
    const p = at(e);
    for (const name of ['loss', 'accuracy', 'val_loss', 'val_accuracy']) out.push({ seq: out.length + 1, time: ago(90 - e), step: e * 469, epoch: e, name, value: p[name] });
  }
  return out;
};
const version = (model, n, more) => ({
  model, version: n, digest: digest(n), size: 2_690_000 + n * 1111, format: 'keras-h5', source: 'job/1', creator: 'service/job', created: ago(800 - n * 200),
  metrics: { loss: 0.0121, accuracy: 0.9961, val_loss: 0.0702, val_accuracy: 0.9838 }, lineage: { job: 1, attempt: 1, data: ['mnist@1 ' + digest(7)], spec: jobs[5].spec }, ...more,
});
const models = [
  { name: 'mnist', versions: 3, latest: 3, aliases: { prod: 1, canary: 2 }, created: ago(800), updated: ago(120) },
  { name: 'fraud-scorer', versions: 1, latest: 1, aliases: {}, created: ago(86400 * 3), updated: ago(86400 * 3) },
];
const versions = { mnist: [version('mnist', 3, { source: 'upload', format: 'keras-zip', creator: 'user/ann', lineage: {}, metrics: undefined }), version('mnist', 2), version('mnist', 1)], 'fraud-scorer': [version('fraud-scorer', 1)] };
const services = [
  {
    model: 'mnist', version: 1, default: 2, requests: 18244, errors: 12, rps: 41.7, p50_ms: 0.21, p99_ms: 0.94, actor: 'user/admin', created: ago(700), updated: ago(100),
    versions: [
      { version: 3, state: 'END', error: 'layer "lambda" of class Lambda is not known', requests: 0, errors: 0 },
      { version: 2, state: 'AVAILABLE', labels: ['canary'], loaded: ago(100), memory_bytes: 2_700_000, requests: 1244, errors: 0 },
      { version: 1, state: 'AVAILABLE', labels: ['prod'], loaded: ago(700), memory_bytes: 2_700_000, requests: 17000, errors: 12 },
    ],
  },
];
const actions = [
  { id: 'act_restart_4_1_3', time: ago(20), policy: 'restart', mode: 'advise', subject: 'job/4', verb: 'restart_task', target: { job: 4, task: 1 }, reasons: ['replica 1 of job 4 died for the 3rd time in 10 minutes'], evidence: [{ name: 'exit code', value: '137' }], state: 'proposed', outcome: '', changed: ago(20) },
  { id: 'act_restart_4_1_2', time: ago(400), policy: 'restart', mode: 'act', subject: 'job/4', verb: 'restart_task', target: { job: 4, task: 1 }, reasons: ['replica 1 died'], evidence: [], state: 'verified', outcome: 'runs again since 12 s', changed: ago(380) },
];
const policies = [{ name: 'restart', about: 'starts a service’s replica again when it dies, with growing pauses', mode: 'advise' }];
const names = ['session.opened user/admin', 'data.imported data/mnist@1', 'job.submitted job/1', 'job.placed job/1', 'job.started job/1', 'job.finished job/1', 'model.registered model/mnist:1', 'service.deployed service/mnist', 'job.submitted job/3', 'job.finished job/3', 'model.aliased model/mnist', 'access.denied model/mnist', 'job.submitted job/5', 'job.started job/5'];
const log = names.map((n, i) => {
  const [action, subject] = n.split(' ');
  return { seq: i + 1, time: ago(900 - i * 50), actor: action.startsWith('job.s') || action.startsWith('job.f') ? 'service/job' : 'user/admin', action, subject, outcome: action === 'access.denied' ? 'denied' : 'ok', detail: { note: 'as it was' }, prev: i ? digest(i).slice(7) : '', hash: digest(i + 1).slice(7) };
}).reverse();
const node = { name: 'hall-1', cpu: 8, memory: 24e9, disk: 210e9, accelerators: [{ id: '0', model: 'H100' }, { id: '1', model: 'H100' }], cordoned: false };
const listeners = new Set();
let seq = log.length, me = null;

function send(topic, kind, subject, data, quiet) {
  const e = { seq: quiet ? 0 : ++seq, time: new Date().toISOString(), topic, kind, subject, actor: 'service/job', data };
  for (const res of listeners) res.write(`${quiet ? '' : `id: ${e.seq}\n`}event: ${topic}\ndata: ${JSON.stringify(e)}\n\n`);
}
setInterval(() => {
  const j = jobs[1];
  const epoch = j.progress.epoch >= 20 ? 1 : j.progress.epoch + 1;
  j.progress = at(epoch);
  send('jobs', 'job.progress', 'job/5', j, true);
  services[0].requests += Math.round(60 + Math.random() * 50);
  services[0].errors += Math.random() < 0.1 ? 1 : 0;
  services[0].p99_ms = 0.8 + Math.random() * 0.4;
}, 2000);
setInterval(() => listeners.forEach((r) => r.write(': \n\n')), 15000);

const routes = [
  ['GET', /^\/session$/, () => me ?? fail(401, 'unauthenticated', 'sign in first')],
  ['POST', /^\/session$/, (_, body) => (body.code === 'wrong' || body.password === 'wrong' ? fail(401, 'unauthenticated', 'the name or the password is wrong') : (me = { name: 'admin', role: 'admin', via: 'link' }))],
  ['DELETE', /^\/session$/, () => { me = null; return {}; }],
  ['GET', /^\/overview$/, () => ({
    version: 'v0.1.0-dev', uptime_seconds: 4211, nodes: [node], jobs: jobs.reduce((n, j) => ({ ...n, [j.state]: (n[j.state] ?? 0) + 1 }), {}), cpu_used: 4, cpu_total: 8, memory_used: 3e9, memory_total: 24e9,
    models: models.length, services: services.length, rps: services[0].rps, p99_ms: services[0].p99_ms, actions_24h: 7, events: log.slice(0, 12).map((e) => ({ seq: e.seq, time: e.time, topic: 'jobs', kind: e.action, subject: e.subject, actor: e.actor, data: { state: e.subject === 'job/3' ? 'failed' : 'succeeded' } })),
  })],
  ['POST', /^\/jobs$/, (_, body, q) => {
    const bad = /^(\s*)resorces/m.exec(body);
    if (bad) return fail(400, 'invalid', `line ${body.slice(0, bad.index).split('\n').length}, column 1: unknown field "resorces"; did you mean "resources"?`);
    const j = job(7, 'mnist', 'train', 'queued', { reason: 'would start now on hall-1' });
    if (!q.get('dry_run')) jobs.unshift(j);
    return j;
  }],
  ['GET', /^\/jobs$/, (_, __, q) => ({ items: jobs.filter((j) => !q.get('state') || j.state === q.get('state')) })],
  ['GET', /^\/jobs\/(\d+)$/, ([id]) => jobs.find((j) => j.id === Number(id)) ?? fail(404, 'not_found', `no job ${id}; \`lineshaft jobs\` lists them`)],
  ['GET', /^\/jobs\/(\d+)\/why$/, ([id]) => { const j = jobs.find((x) => x.id === Number(id)); return { summary: `job ${id} (${j.name}) is ${j.state}${j.reason ? ': ' + j.reason : ''}`, reasons: j.reasons ?? [], isolation: j.tasks[0].isolation ?? [], ...(j.state === 'queued' && { outlook }) }; }],
  ['GET', /^\/plan$/, plan],
  ['GET', /^\/jobs\/(\d+)\/metrics$/, ([id], _, q) => ({ items: points(jobs.find((j) => j.id === Number(id))).filter((p) => p.seq > Number(q.get('after') ?? 0)) })],
  ['POST', /^\/jobs\/(\d+)\/(cancel|retry)$/, ([id]) => jobs.find((j) => j.id === Number(id))],
  ['GET', /^\/models$/, () => ({ items: models })],
  ['GET', /^\/models\/([^/]+)$/, ([n]) => { const m = models.find((x) => x.name === n); return m ? { ...m, items: versions[n] } : fail(404, 'not_found', `no model "${n}"; \`lineshaft models\` lists them`); }],
  ['POST', /^\/models\/([^/]+)\/versions$/, ([n]) => version(n, 4)],
  ['PUT', /^\/models\/([^/]+)\/aliases\/([^/]+)$/, ([n, a], body) => { const m = models.find((x) => x.name === n); m.aliases[a] = body.version; return m; }],
  ['GET', /^\/services$/, () => ({ items: services })],
  ['POST', /^\/services$/, () => services[0]],
  ['POST', /^\/services\/([^/]+)\/predict$/, (_, body) => {
    const row = body.instances[0].flat(3);
    const top = Math.round(row.reduce((a, v, i) => a + v * (i % 28), 0)) % 10;
    const w = Array.from({ length: 10 }, (_, i) => (i === top ? 40 : 1 + ((i * 7) % 5)));
    const sum = w.reduce((a, b) => a + b);
    return { predictions: [w.map((x) => x / sum)] };
  }],
  ['GET', /^\/policies$/, () => ({ items: policies })],
  ['PUT', /^\/policies\/(.+)$/, (_, body) => Object.assign(policies[0], body)],
  ['GET', /^\/actions$/, () => ({ items: actions })],
  ['POST', /^\/actions\/([^/]+)\/approve$/, ([id]) => Object.assign(actions.find((a) => a.id === id), { state: 'decided', by: 'user/admin' })],
  ['GET', /^\/audit$/, (_, __, q) => ({ items: log.filter((e) => (!q.get('actor') || e.actor === q.get('actor')) && (!q.get('action') || e.action.startsWith(q.get('action')))) })],
  ['GET', /^\/audit\/verify$/, () => ({ ok: true, entries: log.length, message: `${log.length} entries, unbroken` })],
];
const fail = (status, kind, message) => { throw Object.assign(new Error(message), { status, kind }); };
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };

createServer(async (req, res) => {
  const url = new URL(req.url, 'http://x');
  const chunks = [];
  for await (const c of req) chunks.push(c);
  if (!url.pathname.startsWith('/api/')) return file(url.pathname, res);
  const path = url.pathname.slice('/api/v1'.length);
  if (path === '/events') {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('retry: 1000\n\n');
    listeners.add(res);
    return res.on('close', () => listeners.delete(res));
  }
  if (/^\/jobs\/\d+\/logs$/.test(path)) {
    res.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8' });
    for (let e = 1; e <= 7; e++) res.write(`epoch ${e}/20  loss ${at(e).loss.toFixed(4)}  accuracy ${at(e).accuracy.toFixed(4)}  val_accuracy ${at(e).val_accuracy.toFixed(4)}\n`);
    return res.end();
  }
  try {
    const text = Buffer.concat(chunks).toString();
    const body = req.headers['content-type']?.includes('json') && text ? JSON.parse(text) : text;
    const [, pattern, answer] = routes.find(([m, p]) => m === req.method && p.test(path)) ?? fail(404, 'not_found', `the API has no ${path}`);
    const out = answer(pattern.exec(path).slice(1).map(decodeURIComponent), body, url.searchParams);
    res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(out));
  } catch (err) {
    res.writeHead(err.status ?? 500, { 'Content-Type': 'application/json' }).end(JSON.stringify({ status: err.status ?? 500, kind: err.kind ?? 'internal', message: err.message }));
  }
}).listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/signin#code`));

function file(path, res) {
  const name = normalize(path);
  for (const [p, page] of [[name, false], ['index.html', true]]) {
    try {
      const body = readFileSync(join(dist, p));
      const headers = { 'Content-Type': types[extname(p)] ?? 'application/octet-stream' };
      if (page || p.endsWith('.html')) headers['Content-Security-Policy'] = "default-src 'self'; style-src 'self' 'nonce-mock'; img-src 'self' data: blob:";
      return res.writeHead(200, headers).end(p.endsWith('.html') ? body.toString().replaceAll('__NONCE__', 'mock') : body);
    } catch { /* the next */ }
  }
  res.writeHead(404).end();
}
