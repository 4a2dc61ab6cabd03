import { Button, useComputedColorScheme } from '@mantine/core';
import { useCallback, useEffect, useRef, useState, type PointerEvent } from 'react';
import { ApiError } from '../../api/client';
import { predict } from '../../api/queries';
import { number, percent } from '../../format';
import { useT } from '../../i18n';
import { Eraser } from '../../ui/icons';
import { Problem } from '../../ui/parts';
import { examples, picture, pixels, shaped, shapes, side, smooth, type Point, type Shape, type Stroke } from './digits';

interface Answer { shares: number[]; ms: number }

/** A pad to draw a digit on; the model in service answers while the pen moves. */
export function Pad({ model, version }: { model: string; version: number | undefined }) {
  const { t, lang } = useT();
  const [strokes, setStrokes] = useState<Stroke[]>([]);
  const [answer, setAnswer] = useState<Answer>();
  const [error, setError] = useState<unknown>();
  const ask = useAsker(model, version, setAnswer, setError);
  useEffect(() => {
    if (strokes.length) ask(picture(strokes));
    else { setAnswer(undefined); setError(undefined); ask(undefined); }
  }, [strokes, ask]);
  const best = answer ? answer.shares.indexOf(Math.max(...answer.shares)) : -1;
  return (
    <div className="pad-grid">
      <div>
        <Canvas strokes={strokes} change={setStrokes} />
        <div className="row wrap" style={{ marginTop: 8, justifyContent: 'space-between' }}>
          <Button variant="default" leftSection={<Eraser size={14} />} disabled={!strokes.length} onClick={() => setStrokes([])}>{t('pad.clear')}</Button>
          <span className="row dim"><span>{t('pad.seen')}</span><Thumb of={picture(strokes)} /></span>
        </div>
        <div className="row wrap" style={{ marginTop: 8, gap: 3 }} role="group" aria-label={t('pad.examples')}>
          {examples.map((e, d) => <button key={d} type="button" className="digit" aria-label={t('pad.example', { digit: d })} onClick={() => setStrokes(e)}>{d}</button>)}
        </div>
      </div>
      <div aria-live="polite">
        {error !== undefined ? <Problem error={error} /> : (
          <>
            <p className="answer">{best < 0 ? <span className="dim">{t('pad.draw')}</span> : <><b className="num" data-testid="answer">{best}</b><span className="dim num">{percent(answer!.shares[best], lang, 1)} · {number(answer!.ms, lang, 1)} ms</span></>}</p>
            <ol className="shares" aria-label={t('pad.shares')}>
              {(answer?.shares ?? new Array<number>(10).fill(0)).map((share, i) => (
                <li key={i} className={i === best ? 'best' : ''}>
                  <span className="mono">{i}</span><span className="bar wide" aria-hidden="true"><i style={{ width: `${Math.max(0, Math.min(1, share)) * 100}%` }} /></span>
                  <span className="num">{answer ? percent(share, lang, 1) : '–'}</span>
                </li>
              ))}
            </ol>
          </>
        )}
      </div>
    </div>
  );
}

/** Asks with the newest picture, one request at a time: what comes meanwhile waits, and only its last counts. */
function useAsker(model: string, version: number | undefined, answer: (a: Answer) => void, failed: (err: unknown) => void) {
  const state = useRef<{ busy: boolean; next: Float32Array | undefined; shape: Shape | undefined; round: number }>({ busy: false, next: undefined, shape: undefined, round: 0 });
  return useCallback((p: Float32Array | undefined) => {
    const s = state.current;
    s.next = p;
    if (!p) s.round++;
    if (s.busy || !p) return;
    s.busy = true;
    void (async () => {
      while (s.next) {
        const now = s.next, round = s.round;
        s.next = undefined;
        try {
          const got = await askShaped(model, version, now, s.shape);
          s.shape = got.shape;
          if (round === s.round) { answer(got.answer); failed(undefined); }
        } catch (err) {
          if (round === s.round) failed(err);
        }
      }
      s.busy = false;
    })();
  }, [model, version]);
}

/** Tries the shapes until the model takes one; the first refusal is the one to tell. */
async function askShaped(model: string, version: number | undefined, p: Float32Array, known: Shape | undefined): Promise<{ answer: Answer; shape: Shape }> {
  let first: unknown;
  for (const shape of known ? [known] : shapes) {
    const start = performance.now();
    try {
      const res = await predict(model, version, { instances: [shaped(pixels(p), shape)] });
      const row = (res.predictions as unknown[] | undefined)?.[0];
      const values = Array.isArray(row) ? row : [row];
      if (!values.every((v): v is number => typeof v === 'number')) throw new ApiError(0, 'invalid', JSON.stringify(res).slice(0, 200));
      return { answer: { shares: values, ms: performance.now() - start }, shape };
    } catch (err) {
      first ??= err;
      if (!(err instanceof ApiError) || err.status !== 400) break;
    }
  }
  throw first;
}

function Canvas({ strokes, change }: { strokes: Stroke[]; change: (s: Stroke[]) => void }) {
  const { t } = useT();
  const scheme = useComputedColorScheme('light', { getInitialValueInEffect: false });
  const canvas = useRef<HTMLCanvasElement>(null);
  const now = useRef(strokes);
  now.current = strokes;
  const pen = useRef<number | null>(null);

  const paint = useCallback(() => {
    const el = canvas.current;
    if (!el) return; // it is watched for a moment longer than it is there
    const size = el.clientWidth, dense = devicePixelRatio || 1;
    if (el.width !== Math.round(size * dense)) { el.width = Math.round(size * dense); el.height = el.width; }
    const g = el.getContext('2d');
    if (!g) return;
    g.setTransform(dense * size, 0, 0, dense * size, 0, 0);
    g.clearRect(0, 0, 1, 1);
    g.lineWidth = 0.075;
    g.lineCap = g.lineJoin = 'round';
    g.strokeStyle = getComputedStyle(el).color;
    for (const s of now.current) {
      const line = smooth(s);
      g.beginPath();
      g.moveTo(line[0]!.x, line[0]!.y);
      for (const p of line.slice(1)) g.lineTo(p.x, p.y);
      if (line.length === 1) g.lineTo(line[0]!.x + 1e-4, line[0]!.y);
      g.stroke();
    }
  }, []);
  useEffect(paint, [strokes, scheme, paint]);
  useEffect(() => {
    const watch = new ResizeObserver(paint);
    watch.observe(canvas.current!);
    return () => watch.disconnect();
  }, [paint]);

  const at = (e: { clientX: number; clientY: number }): Point => {
    const r = canvas.current!.getBoundingClientRect();
    return { x: (e.clientX - r.left) / r.width, y: (e.clientY - r.top) / r.height };
  };
  const down = (e: PointerEvent) => {
    if (e.button !== 0) return;
    e.preventDefault();
    try { canvas.current!.setPointerCapture(e.pointerId); } catch { /* a pointer that has gone again */ }
    pen.current = e.pointerId;
    change([...now.current, [at(e)]]);
  };
  const move = (e: PointerEvent) => {
    if (pen.current !== e.pointerId) return;
    const events = e.nativeEvent.getCoalescedEvents?.() ?? [];
    const stroke = [...(now.current.at(-1) ?? [])];
    for (const c of events.length ? events : [e.nativeEvent]) {
      const p = at(c), last = stroke.at(-1);
      if (!last || Math.hypot(p.x - last.x, p.y - last.y) > 0.008) stroke.push(p);
    }
    const next = [...now.current.slice(0, -1), stroke];
    now.current = next;
    change(next);
  };
  const up = (e: PointerEvent) => { if (pen.current === e.pointerId) pen.current = null; };
  return (
    <canvas
      ref={canvas} className="pad" role="img" aria-label={t('pad.label')} data-testid="pad"
      onPointerDown={down} onPointerMove={move} onPointerUp={up} onPointerCancel={up}
    />
  );
}

/** The 28 × 28 pixels as the model gets them. */
function Thumb({ of }: { of: Float32Array }) {
  const { t } = useT();
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const g = canvas.current?.getContext('2d');
    if (!g) return;
    const image = g.createImageData(side, side);
    of.forEach((v, i) => image.data.set([255 * v, 255 * v, 255 * v, 255], i * 4));
    g.putImageData(image, 0, 0);
  }, [of]);
  return <canvas ref={canvas} className="thumb" width={side} height={side} role="img" aria-label={t('pad.seen')} />;
}
