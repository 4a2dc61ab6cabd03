import { Button } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import { ApiError, download, query, request } from '../../api/client';
import { ended, type Job } from '../../api/types';
import { useT } from '../../i18n';
import { Download } from '../../ui/icons';
import { failed } from '../../ui/notify';
import { Card, Problem } from '../../ui/parts';

/** How much of a log a page keeps; the download has all of it. */
const keep = 256 * 1024;
// Colours and cursor moves of a terminal have no meaning here.
const escapes = /\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07/g;

/** Joins what came to what there is: the end of it, whole lines first, and of a line that was redrawn the last state. */
export function append(text: string, more: string): string {
  let all = text + more.replace(escapes, '').replace(/\r\n/g, '\n');
  if (all.includes('\r')) all = all.split('\n').map((line) => line.slice(line.lastIndexOf('\r', line.length - 2) + 1)).join('\n');
  if (all.length <= keep) return all;
  const cut = all.indexOf('\n', all.length - keep);
  return all.slice(cut < 0 ? all.length - keep : cut + 1);
}

/** The output of a task, followed as it comes. */
export function Log({ j }: { j: Job }) {
  const { t } = useT();
  const [task, setTask] = useState(0);
  const [text, setText] = useState('');
  const [error, setError] = useState<unknown>();
  const [follow, setFollow] = useState(true);
  const [round, setRound] = useState(0);
  const box = useRef<HTMLPreElement>(null);
  const tasks = j.tasks ?? [];
  const attempt = tasks[task]?.attempt ?? 0;
  const over = useRef(false);
  over.current = ended(j.state);

  useEffect(() => {
    setText('');
    setError(undefined);
    if (!attempt) return;
    const stop = new AbortController();
    const decoder = new TextDecoder();
    let held = '';
    let timer: ReturnType<typeof setTimeout> | undefined;
    // A chatty program sends thousands of pieces a second; the page shows ten states of them.
    const show = () => { timer = undefined; const piece = held; held = ''; setText((old) => append(old, piece)); };
    void (async () => {
      let read = 0;
      while (!stop.signal.aborted) {
        const last = over.current;
        try {
          const res = await request('GET', query(`/jobs/${j.id}/logs`, { task, offset: read, follow: true }), { signal: stop.signal, headers: { Accept: 'text/plain' } });
          const reader = res.body!.getReader();
          for (;;) {
            const { done, value } = await reader.read();
            if (done) break;
            read += value.length;
            held += decoder.decode(value, { stream: true });
            timer ??= setTimeout(show, 100);
          }
          // The end of the stream is the end of the log once the job is over; before, the server went away.
          if (last) return;
        } catch (err) {
          if (stop.signal.aborted) return;
          if (err instanceof ApiError && err.status > 0 && err.status < 500) return setError(err);
        }
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    })();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [j.id, task, attempt, round]);

  useEffect(() => { if (follow && box.current) box.current.scrollTop = box.current.scrollHeight; }, [text, follow]);

  const scrolled = () => {
    const el = box.current!;
    setFollow(el.scrollHeight - el.scrollTop - el.clientHeight < 24);
  };
  return (
    <Card
      title={t('log')} note={<code>lineshaft logs -f {j.id}</code>}
      right={
        <>
          {tasks.length > 1 && (
            <select className="select" aria-label={t('task')} value={task} onChange={(e) => setTask(Number(e.currentTarget.value))}>
              {tasks.map((x) => <option key={x.index} value={x.index}>{t('task')} {x.index}</option>)}
            </select>
          )}
          <label className="row"><input type="checkbox" checked={follow} onChange={(e) => setFollow(e.currentTarget.checked)} />{t('log.follow')}</label>
          <Button
            variant="default" leftSection={<Download size={14} />} disabled={!attempt}
            onClick={() => download(query(`/jobs/${j.id}/logs`, { task }), `job-${j.id}-${task}.log`).catch((err) => failed(t, err))}
          >{t('save')}</Button>
        </>
      }
    >
      {error !== undefined && <div className="b"><Problem error={error} retry={() => setRound(round + 1)} /></div>}
      <pre className="log" ref={box} onScroll={scrolled} tabIndex={0} role="log" aria-label={t('log')} aria-live="off">
        {text || <span className="dim">{!attempt ? t('log.not_started') : ended(j.state) ? t('log.empty') : t('log.waiting')}</span>}
      </pre>
    </Card>
  );
}
