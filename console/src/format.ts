/** Numbers, sizes and times in the reader's language. */

const cache = new Map<string, Intl.NumberFormat>();

export function number(v: number | undefined, lang: string, digits = 0): string {
  if (v === undefined || !Number.isFinite(v)) return '–';
  const key = `${lang}/${digits}`;
  let f = cache.get(key);
  if (!f) cache.set(key, (f = new Intl.NumberFormat(lang, { maximumFractionDigits: digits })));
  return f.format(v);
}

/** A share with a fixed number of decimals, so that a column does not jitter. */
export const percent = (v: number | undefined, lang: string, digits = 0): string =>
  v === undefined || !Number.isFinite(v) ? '–' : new Intl.NumberFormat(lang, { style: 'percent', minimumFractionDigits: digits, maximumFractionDigits: digits }).format(v);

/** A value of unknown size, such as a loss: four decimals, or four figures when it is small. */
export function value(v: number | undefined, lang: string): string {
  if (v === undefined || !Number.isFinite(v)) return '–';
  if (v !== 0 && Math.abs(v) < 1e-3) return v.toExponential(2);
  return new Intl.NumberFormat(lang, { minimumFractionDigits: Number.isInteger(v) ? 0 : 4, maximumFractionDigits: 4 }).format(v);
}

const sizes: Record<string, number> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, K: 1e3, KB: 1e3, M: 1e6, MB: 1e6, G: 1e9, GB: 1e9, TB: 1e12 };

/** Sizes come as numbers, or as the notation that specifications use. */
export function toBytes(v: number | string | undefined): number | undefined {
  if (typeof v === 'number' || v === undefined) return v;
  const m = /^\s*([\d.]+)\s*([A-Za-z]*)\s*$/.exec(v);
  return m ? Number(m[1]) * (sizes[m[2] || 'B'] ?? NaN) : undefined;
}

/** A quantity and its unit apart, for tiles that set the unit smaller. */
export function sized(v: number | string | undefined, lang: string): [string, string] {
  let n = toBytes(v);
  if (n === undefined || !Number.isFinite(n)) return ['–', ''];
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return [number(n, lang, n < 10 && i > 0 ? 1 : 0), units[i]!];
}

export const bytes = (v: number | string | undefined, lang: string): string => sized(v, lang).join(' ').trim();

/** A bandwidth, which comes as a number of bit/s or as written. */
export const watts = (v: number, lang: string): string => (Math.abs(v) >= 10_000 ? `${number(v / 1000, lang, 1)} kW` : `${number(v, lang)} W`);
export function bits(v: number | string | undefined, lang: string): string {
  if (typeof v === 'string') return v;
  if (v === undefined || !Number.isFinite(v)) return '–';
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'];
  let i = 0;
  for (; v >= 1000 && i < units.length - 1; i++) v /= 1000;
  return `${number(v, lang, 1)} ${units[i]}`;
}

/** "1 h 4 min", in the two largest units. */
export function span(seconds: number | undefined, lang: string): string {
  if (seconds === undefined || !Number.isFinite(seconds)) return '–';
  const zh = lang.startsWith('zh');
  const names = zh ? [' 天', ' 小时', ' 分', ' 秒'] : [' d', ' h', ' min', ' s'];
  if (seconds < 0) seconds = 0;
  if (seconds < 10) return number(seconds, lang, seconds < 1 && seconds > 0 ? 1 : 0) + names[3];
  const parts = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, Math.floor(seconds % 60)];
  const first = parts.findIndex((p) => p > 0);
  return parts.slice(first, first + 2).map((p, i) => (p || i === 0 ? p + names[first + i]! : '')).filter(Boolean).join(' ');
}

export const clockTime = (t: string | Date, lang: string): string =>
  new Intl.DateTimeFormat(lang, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }).format(new Date(t));

/** A half-width space between figures and Han, which Intl leaves out. */
const spaced = (s: string) => s.replace(/(\d)(\p{Script=Han})/gu, '$1 $2').replace(/(\p{Script=Han})(\d)/gu, '$1 $2');

export const fullTime = (t: string | Date, lang: string): string =>
  spaced(new Intl.DateTimeFormat(lang, { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' }).format(new Date(t)));

/** "12 s ago" in the language's own way. */
export function ago(t: string | Date, lang: string, now = Date.now()): string {
  const s = Math.max(0, Math.round((now - new Date(t).getTime()) / 1000));
  const f = new Intl.RelativeTimeFormat(lang, { style: 'short', numeric: 'auto' });
  const [n, unit] = s < 60 ? [s, 'second' as const] : s < 3600 ? [s / 60, 'minute' as const] : s < 86400 ? [s / 3600, 'hour' as const] : [s / 86400, 'day' as const];
  return spaced(f.format(-Math.floor(n), unit));
}

/** The time of day of what happened lately, with the day before it for what is older. */
export function moment(t: string | Date, lang: string, now = Date.now()): string {
  const d = new Date(t);
  if (Math.abs(now - d.getTime()) < 20 * 3600_000) return clockTime(d, lang);
  return new Intl.DateTimeFormat(lang, { month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(d).replace(', ', ' ');
}

export const seconds = (from?: string, to?: string, now = Date.now()): number | undefined =>
  from ? (new Date(to ?? now).getTime() - new Date(from).getTime()) / 1000 : undefined;

export const shortDigest = (d: string): string => d.replace(/^sha256:/, '').slice(0, 12);
