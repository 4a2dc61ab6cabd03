import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { clockTime, number, value } from '../format';
import { useT } from '../i18n';

export interface Series { name: string; /** A token, such as --run. */ colour: string; dash?: boolean; values: (number | null)[] }

interface Props {
  x: number[];
  series: Series[];
  height: number;
  /** x counts seconds since 1970. */
  time?: boolean;
  label: string;
  /** How values are written in the key, and on the axis, where there is little room. */
  format?: (v: number) => string;
  tick?: (v: number) => string;
  /** No axes and no key: a line in a table. */
  bare?: boolean;
  min?: number;
  max?: number;
  xLabel?: string;
}

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A line chart in the page's colours, with its key in words. It is drawn anew when theme or shape change, else fed. */
export function Chart({ x, series, height, time, label, format, tick, bare, min, max, xLabel }: Props) {
  const { lang } = useT();
  const scheme = useComputedColorScheme('light', { getInitialValueInEffect: false });
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const show = format ?? ((v: number) => value(v, lang));
  const shape = series.map((s) => s.name + s.colour + (s.dash ?? '')).join('|');
  const data: uPlot.AlignedData = [x, ...series.map((s) => s.values)];
  const fresh = useRef(data);
  fresh.current = data;

  useEffect(() => {
    const el = box.current!;
    const ink = css('--ink2'), line = css('--line2');
    const axis = (over: uPlot.Axis): uPlot.Axis => ({
      stroke: ink, font: `11px ${css('--sans')}`, labelFont: `11px ${css('--sans')}`, grid: { stroke: line, width: 1 }, ticks: { show: false }, gap: 6, ...over,
    });
    const u = new uPlot({
      width: Math.max(40, el.clientWidth), height, legend: { show: false },
      padding: bare ? [2, 0, 2, 0] : [8, 10, 0, 0],
      cursor: bare ? { show: false } : { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { x: { time: !!time, ...(time && { range: (_: uPlot, lo: number | null, hi: number | null) => timeRange(lo, hi) }) }, y: { range: (_, lo, hi) => range(lo, hi, min, max) } },
      axes: bare ? [{ show: false }, { show: false }] : [
        axis({ size: 26, space: 60, values: (_, v) => v.map((n) => (time ? (fresh.current[0].length ? clockTime(new Date(n * 1000), lang) : '') : Number.isInteger(n) ? number(n, lang) : '')) }),
        axis({ size: 54, space: 36, values: (_, v) => v.map((n) => (tick ?? axisNumber(lang))(n)) }),
      ],
      series: [{}, ...series.map((s): uPlot.Series => ({
        label: s.name, stroke: css(s.colour), width: bare ? 1.25 : 1.5, spanGaps: true, ...(s.dash && { dash: [4, 3] }),
        points: { show: (_u, i) => !bare && Array.from(fresh.current[i] ?? []).filter((v) => v !== null).length < 40, size: 4 },
      }))],
      hooks: bare ? {} : { setCursor: [(p) => setAt(p.cursor.idx ?? null)] },
    }, fresh.current, el);
    plot.current = u;
    const watch = new ResizeObserver(() => u.setSize({ width: Math.max(40, el.clientWidth), height }));
    watch.observe(el);
    return () => { watch.disconnect(); u.destroy(); plot.current = null; };
  }, [shape, height, time, scheme, lang, bare, min, max]);

  useEffect(() => { plot.current?.setData(fresh.current); }, [x, ...series.map((s) => s.values)]);

  const last = (values: (number | null)[]) => {
    if (at !== null && values[at] !== null && values[at] !== undefined) return values[at];
    for (let i = values.length - 1; i >= 0; i--) if (values[i] !== null && values[i] !== undefined) return values[i]!;
    return undefined;
  };
  return (
    <figure className="chart" aria-label={label}>
      {!bare && (
        <figcaption className="keys" style={{ minHeight: 20 }}>
          {series.map((s) => {
            const v = last(s.values);
            return (
              <span key={s.name}>
                <svg width="14" height="4" aria-hidden="true"><path d="M0 2h14" stroke={`var(${s.colour})`} strokeWidth="2" strokeDasharray={s.dash ? '4 2' : undefined} /></svg>
                {s.name} <b>{v === undefined ? '–' : show(v)}</b>
              </span>
            );
          })}
          {xLabel && <span style={{ marginLeft: 'auto' }}>{xLabel}{at !== null && x[at] !== undefined && !time ? ` ${number(x[at], lang)}` : ''}</span>}
        </figcaption>
      )}
      <div ref={box} style={{ height }} />
    </figure>
  );
}

const axisNumber = (lang: string) => (v: number) => (v !== 0 && Math.abs(v) < 1e-3 ? v.toExponential(0) : new Intl.NumberFormat(lang, { maximumSignificantDigits: 4, notation: Math.abs(v) >= 1e5 ? 'compact' : 'standard' }).format(v));

/** At least a minute of time, so that the first points do not fill the whole width. */
export function timeRange(lo: number | null, hi: number | null, now = Date.now() / 1000): [number, number] {
  const end = hi ?? now;
  return [Math.min(lo ?? end, end - 60), end];
}

/** A little air above and below, within fixed ends where there are any; never an empty range. */
export function range(lo: number | null, hi: number | null, min?: number, max?: number): [number, number] {
  let a = min ?? lo ?? 0, b = max ?? hi ?? 1;
  if (!Number.isFinite(a)) a = 0;
  if (!Number.isFinite(b)) b = 1;
  const air = (b - a) * 0.06 || Math.abs(b) * 0.1 || 1;
  if (min === undefined) a = lo !== null && lo >= 0 && a - air < 0 ? 0 : a - air;
  if (max === undefined) b += air;
  return a < b ? [a, b] : [a, a + 1];
}
