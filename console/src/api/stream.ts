import type { Event } from './types';

/**
 * The one stream of events that a page holds. It reads server-sent events with fetch, because EventSource gives up on
 * a refusal and cannot say where to go on after one: we reconnect for ever, with growing pauses, and name the last
 * event we have, so that nothing is lost while the server restarts.
 */
export type Connection = 'connecting' | 'live' | 'reconnecting';

export interface Hooks {
  event: (e: Event) => void;
  /** The stream is up again after it was down: what was quiet in between is not told, so caches are stale. */
  resumed: () => void;
  state: (c: Connection) => void;
  /** The server does not know us any more. */
  refused: () => void;
}

export const topics = ['jobs', 'models', 'services', 'data', 'audit', 'fleet', 'actions'];
/** The server breaks its silence every 15 seconds; a line that is quiet for longer than this is dead. */
const silence = 50_000;
const pauses = [500, 1000, 2000, 4000, 8000, 15000];

export function follow(hooks: Hooks, fetcher: typeof fetch = fetch): () => void {
  const stop = new AbortController();
  let last = '';
  let tries = 0;
  let before = false;
  const wake = () => nudge?.();
  let nudge: (() => void) | undefined;
  addEventListener('online', wake);
  document.addEventListener('visibilitychange', wake);

  const run = async () => {
    while (!stop.signal.aborted) {
      try {
        const headers: Record<string, string> = { Accept: 'text/event-stream' };
        if (last) headers['Last-Event-ID'] = last;
        const res = await fetcher(`/api/v1/events?topics=${topics.join(',')}`, { headers, signal: stop.signal, cache: 'no-store' });
        if (res.status === 401) {
          hooks.refused();
          return;
        }
        if (res.ok && res.body) {
          tries = 0;
          hooks.state('live');
          if (before) hooks.resumed();
          before = true;
          await read(watched(res.body, silence), (id, data, event) => {
            if (id) last = id;
            // What lies between is not kept any more: everything is to be read anew.
            if (event === 'reset') return hooks.resumed();
            const e = parse(data);
            if (e) hooks.event(e);
          });
        }
      } catch { /* the network; try again */ }
      if (stop.signal.aborted) return;
      hooks.state(before ? 'reconnecting' : 'connecting');
      const pause = pauses[Math.min(tries++, pauses.length - 1)]!;
      await new Promise<void>((resolve) => {
        nudge = resolve;
        setTimeout(resolve, pause * (0.75 + Math.random() / 2));
      });
    }
  };
  void run();
  return () => {
    stop.abort();
    removeEventListener('online', wake);
    document.removeEventListener('visibilitychange', wake);
  };
}

/** Passes a stream on and ends it with an error when nothing has come for a while. */
function watched(body: ReadableStream<Uint8Array>, limit: number): ReadableStream<Uint8Array> {
  let timer: ReturnType<typeof setTimeout>;
  return body.pipeThrough(new TransformStream<Uint8Array, Uint8Array>({
    start(c) { timer = setTimeout(() => c.error(new Error('silent')), limit); },
    transform(chunk, c) {
      clearTimeout(timer);
      timer = setTimeout(() => c.error(new Error('silent')), limit);
      c.enqueue(chunk);
    },
    flush() { clearTimeout(timer); },
  }));
}

function parse(data: string): Event | undefined {
  try {
    return JSON.parse(data) as Event;
  } catch {
    return undefined;
  }
}

/** Takes a stream apart by the rules of server-sent events (HTML standard, 9.2.6). */
export async function read(body: ReadableStream<Uint8Array>, on: (id: string, data: string, event: string) => void): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let id = '', event = '', data: string[] = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop()!;
    for (const line of lines) {
      if (line === '') {
        if (data.length) on(id, data.join('\n'), event);
        id = '';
        event = '';
        data = [];
        continue;
      }
      const at = line.indexOf(':');
      const field = at < 0 ? line : line.slice(0, at);
      const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
      if (field === 'data') data.push(value);
      else if (field === 'id') id = value;
      else if (field === 'event') event = value;
    }
  }
}
