import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from 'react';
import { Link, useNavigate } from 'react-router';
import type { Plan } from '../../api/types';
import { moment, percent } from '../../format';
import { useT } from '../../i18n';
import { Card, useNow } from '../../ui/parts';
import { axisHeight, barAt, draw, rowHeight, timeOf, type Look, type Scene } from './draw';
import { called, fit, layout, pan, zoom, type Bar, type By, type View } from './layout';

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function look(lang: string): Look {
  const format = (o: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(lang, { hourCycle: 'h23', ...o });
  const fine = format({ hour: '2-digit', minute: '2-digit', second: '2-digit' }), coarse = format({ hour: '2-digit', minute: '2-digit' }), days = format({ month: 'short', day: 'numeric' });
  return {
    ink: css('--ink'), ink2: css('--ink2'), line: css('--line'), line2: css('--line2'), panel: css('--panel'), edge: css('--edge'), run: css('--run'), warn: css('--warn'), accent: css('--accent'), sans: css('--sans'),
    widths: new Map(),
    time: (at, step) => {
      const d = new Date(at);
      if (step >= 86_400_000 || (step >= 3_600_000 && d.getHours() === 0)) return days.format(d);
      return (step < 60_000 ? fine : coarse).format(d);
    },
  };
}

/** What runs until when, and what is foreseen to start: one canvas, led by wheel, pointer and keys. */
export function Gantt({ plan }: { plan: Plan }) {
  const { t, lang } = useT();
  const now = useNow();
  const navigate = useNavigate();
  const scheme = useComputedColorScheme('light', { getInitialValueInEffect: false });
  const [by, setBy] = useState<By>('node');
  const [picked, setPicked] = useState<Bar>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const held = useRef<View | null>(null); // null: all that there is to see
  const frame = useRef(0);
  const drag = useRef<{ x: number; y: number; view: View; moved: boolean } | null>(null);
  const shape = useMemo(() => layout(plan, by, t('plan.waiting')), [plan, by, t]);
  const paints = useMemo(() => look(lang), [lang, scheme]);
  const height = axisHeight + Math.min(Math.max(shape.rows.length, 3), 14) * rowHeight + 4;
  const current = picked && (shape.bars.find((b) => called(b) === called(picked) && b.row === picked.row) ?? shape.bars.find((b) => called(b) === called(picked)));

  const scene = (): Scene => {
    const width = canvas.current?.clientWidth || 600;
    return { layout: shape, view: held.current ?? fit(shape, now), now, width, height, gutter: width < 560 ? 96 : 168, picked: current };
  };
  const latest = useRef(scene);
  latest.current = scene;
  const paint = () => {
    frame.current ||= requestAnimationFrame(() => {
      frame.current = 0;
      const c = canvas.current;
      const ctx = c?.getContext('2d');
      if (!c || !ctx) return;
      const s = latest.current();
      const scale = devicePixelRatio || 1;
      if (c.width !== Math.round(s.width * scale) || c.height !== Math.round(s.height * scale)) {
        c.width = Math.round(s.width * scale);
        c.height = Math.round(s.height * scale);
      }
      ctx.setTransform(scale, 0, 0, scale, 0, 0);
      draw(ctx, s, paints);
    });
  };
  const show = (v: View | null) => {
    if (v) {
      const most = Math.max(0, shape.rows.length * rowHeight - (height - axisHeight - 4));
      v.top = Math.min(Math.max(0, v.top), most);
    }
    held.current = v;
    paint();
  };
  useEffect(paint);
  useEffect(() => () => cancelAnimationFrame(frame.current), []);
  const led = useRef({ show, paint });
  led.current = { show, paint };

  useEffect(() => {
    const c = canvas.current!;
    const watch = new ResizeObserver(() => led.current.paint());
    watch.observe(c);
    // The page's own scrolling is left alone until the chart has the focus or Ctrl is held.
    const wheel = (e: WheelEvent) => {
      if (document.activeElement !== c && !e.ctrlKey && !e.metaKey) return;
      e.preventDefault();
      const s = latest.current();
      const sideways = e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY);
      if (sideways) led.current.show(pan(s.view, ((e.deltaX || e.deltaY) / Math.max(1, s.width - s.gutter)) * (s.view.to - s.view.from)));
      else led.current.show(zoom(s.view, timeOf(s, Math.max(e.offsetX, s.gutter)), Math.exp(Math.max(-200, Math.min(200, e.deltaY)) * 0.002)));
    };
    c.addEventListener('wheel', wheel, { passive: false });
    return () => { watch.disconnect(); c.removeEventListener('wheel', wheel); };
  }, []);

  const pick = (b: Bar | undefined) => {
    setPicked(b);
    if (!b) return;
    const v = { ...scene().view };
    const wide = v.to - v.from;
    if (b.from > v.to || b.to < v.from) Object.assign(v, { from: b.from - wide * 0.1, to: b.from + wide * 0.9 });
    v.top = Math.min(Math.max(v.top, (b.row + 1) * rowHeight - (height - axisHeight)), b.row * rowHeight);
    if (held.current || v.top !== 0) show(v);
  };
  const step = (by: number) => {
    const at = current ? shape.bars.indexOf(current) + by : by > 0 ? 0 : shape.bars.length - 1;
    pick(shape.bars[Math.min(Math.max(at, 0), shape.bars.length - 1)]);
  };
  const keys = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const s = scene(), wide = s.view.to - s.view.from;
    const page = Math.max(1, Math.floor((height - axisHeight) / rowHeight) - 1) * rowHeight;
    const acts: Record<string, () => void> = {
      ArrowLeft: () => show(pan(s.view, -wide / 10)), ArrowRight: () => show(pan(s.view, wide / 10)),
      ArrowDown: () => step(1), ArrowUp: () => step(-1),
      '+': () => show(zoom(s.view, (s.view.from + s.view.to) / 2, 0.7)), '=': () => show(zoom(s.view, (s.view.from + s.view.to) / 2, 0.7)),
      '-': () => show(zoom(s.view, (s.view.from + s.view.to) / 2, 1 / 0.7)),
      PageDown: () => show({ ...s.view, top: s.view.top + page }), PageUp: () => show({ ...s.view, top: s.view.top - page }),
      '0': () => show(null), Home: () => show(null), Escape: () => setPicked(undefined),
      Enter: () => { if (current?.job) navigate(`/jobs/${current.job}`); },
    };
    const act = acts[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  };
  const point = {
    onPointerDown: (e: PointerEvent<HTMLCanvasElement>) => {
      if (e.button) return;
      e.currentTarget.setPointerCapture(e.pointerId);
      drag.current = { x: e.clientX, y: e.clientY, view: scene().view, moved: false };
    },
    onPointerMove: (e: PointerEvent<HTMLCanvasElement>) => {
      const d = drag.current;
      if (!d) return;
      const dx = e.clientX - d.x, dy = e.clientY - d.y;
      if (!d.moved && Math.hypot(dx, dy) < 4) return;
      d.moved = true;
      const s = scene();
      show({ ...pan(d.view, (-dx / Math.max(1, s.width - s.gutter)) * (d.view.to - d.view.from)), top: d.view.top - dy });
    },
    onPointerUp: (e: PointerEvent<HTMLCanvasElement>) => {
      if (drag.current && !drag.current.moved) setPicked(barAt(scene(), e.nativeEvent.offsetX, e.nativeEvent.offsetY));
      drag.current = null;
    },
    onPointerCancel: () => { drag.current = null; },
  };
  const zoomed = (f: number) => { const s = scene(); show(zoom(s.view, (s.view.from + s.view.to) / 2, f)); };
  return (
    <Card
      title={t('plan')} note={t('plan.note')}
      right={(
        <span className="filters" role="group" aria-label={t('plan.rows')}>
          <button type="button" aria-pressed={by === 'node'} onClick={() => { setBy('node'); show(null); }}>{t('plan.by.node')}</button>
          <button type="button" aria-pressed={by === 'job'} onClick={() => { setBy('job'); show(null); }}>{t('plan.by.job')}</button>
          <button type="button" aria-label={t('plan.zoom.out')} title={t('plan.zoom.out')} onClick={() => zoomed(1 / 0.7)}>−</button>
          <button type="button" aria-label={t('plan.zoom.in')} title={t('plan.zoom.in')} onClick={() => zoomed(0.7)}>+</button>
          <button type="button" onClick={() => show(null)}>{t('plan.zoom.all')}</button>
        </span>
      )}
    >
      <canvas
        ref={canvas} className="gantt" style={{ height }} tabIndex={0} role="application" aria-label={t('plan.chart', { running: plan.running.length, waiting: plan.waiting.length })}
        aria-describedby="gantt-keys" onKeyDown={keys} {...point} onDoubleClick={() => current?.job && navigate(`/jobs/${current.job}`)}
      />
      <div className="gantt-foot">
        <p aria-live="polite" className="grow">{current ? <Said b={current} /> : <span className="dim" id="gantt-keys">{t('plan.keys')}</span>}</p>
        <span className="keys"><span><i className="swatch run" />{t('plan.key.runs')}</span><span><i className="swatch ends" />{t('state.stopping')}</span><span><i className="swatch waits" />{t('plan.key.waits')}</span>{plan.reserved?.length ? <span><i className="swatch kept" />{t('plan.key.reserved')}</span> : null}<span><i className="swatch open" />{t('plan.key.open')}</span><span><i className="swatch now" />{t('plan.key.now')}</span></span>
      </div>
      <Table bars={shape.bars} />
    </Card>
  );
}

/** A bar in words. */
function Said({ b }: { b: Bar }) {
  const { t, lang } = useT();
  const from = moment(new Date(b.from), lang);
  const to = b.to === Infinity ? t('plan.unknown') : moment(new Date(b.to), lang);
  if (b.reserved !== undefined) return <><b>{b.name}</b> {t('plan.said.reserved', { whose: b.reserved, where: b.where, from, to })}</>;
  return (
    <>
      <Link to={`/jobs/${b.job}`} className="name">{b.name} <span className="mono">#{b.job}</span></Link>{' '}
      {b.waits ? t('plan.said.waits', { queue: b.queue, from, to, sure: percent(b.confidence, lang) }) : t('plan.said.runs', { queue: b.queue, where: b.where, from, to })}
    </>
  );
}

/** The chart's text: the same, to read row by row. It is made when it is opened. */
function Table({ bars }: { bars: Bar[] }) {
  const { t, lang } = useT();
  const [open, setOpen] = useState(false);
  const jobs = useMemo(() => (open ? [...new Map(bars.map((b) => [`${called(b)}.${b.waits}`, b])).values()] : []), [bars, open]);
  return (
    <details className="gantt-text" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>{t('plan.table')}</summary>
      {open && (
        <div className="scroll" style={{ maxHeight: 320 }} tabIndex={0} role="group" aria-label={t('plan.table')}>
          <table className="t">
            <thead><tr><th>{t('job')}</th><th>{t('state')}</th><th>{t('plan.queue')}</th><th>{t('node')}</th><th>{t('plan.from.time')}</th><th>{t('plan.until')}</th></tr></thead>
            <tbody>
              {jobs.map((b) => (
                <tr key={`${called(b)}.${b.waits}.${b.row}`}>
                  <td>{b.job ? <><Link to={`/jobs/${b.job}`} className="name">{b.name}</Link> <span className="mono dim">#{b.job}</span></> : b.name}</td>
                  <td>{b.reserved !== undefined ? t('plan.key.reserved') : b.waits ? t('plan.key.waits') : t('plan.key.runs')}</td><td>{b.queue || b.reserved}</td><td>{b.where || '–'}</td>
                  <td>{moment(new Date(b.from), lang)}</td><td>{b.to === Infinity ? t('plan.unknown') : moment(new Date(b.to), lang)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}
