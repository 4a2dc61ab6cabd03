/** A specification as a person would have written it: sizes with their units, a layer's type first. */
export function readable(v: unknown, key = ''): unknown {
  if (Array.isArray(v)) return v.map((x) => readable(x));
  if (v !== null && typeof v === 'object') {
    const entries = Object.entries(v).sort(([a], [b]) => Number(b === 'type') - Number(a === 'type'));
    return Object.fromEntries(entries.map(([k, x]) => [k, readable(x, k)]));
  }
  if (['memory', 'disk', 'storage', 'accelerator_memory'].includes(key) && typeof v === 'number') {
    for (const [i, unit] of ['TiB', 'GiB', 'MiB', 'KiB'].entries()) {
      const size = 2 ** (40 - 10 * i);
      if (v >= size && v % size === 0) return v / size + unit;
    }
  }
  return v;
}

/** Writes plain data as YAML, for reading: what is empty is left out. */
export function yaml(v: unknown, indent = 0): string {
  const pad = '  '.repeat(indent);
  if (Array.isArray(v)) {
    if (v.every((x) => x === null || typeof x !== 'object')) return `[${v.map(scalar).join(', ')}]`;
    return v.map((x) => `\n${pad}- ${flow(x) ?? yaml(x, indent + 1).trimStart()}`).join('');
  }
  if (v !== null && typeof v === 'object') {
    const lines = Object.entries(v).filter(([, x]) => !empty(x)).map(([k, x]) => {
      const short = indent > 0 ? flow(x) : undefined;
      if (short) return `${pad}${scalar(k)}: ${short}`;
      const text = yaml(x, indent + 1);
      return `${pad}${scalar(k)}:${text.startsWith('\n') ? text : x !== null && typeof x === 'object' && !Array.isArray(x) ? `\n${text}` : ` ${text}`}`;
    });
    return lines.join('\n');
  }
  return scalar(v);
}

const empty = (v: unknown): boolean =>
  v === null || v === undefined || v === '' || (Array.isArray(v) && v.length === 0) || (typeof v === 'object' && !Array.isArray(v) && Object.values(v!).every(empty));

/** A small mapping of scalars fits on a line. */
function flow(v: unknown): string | undefined {
  if (v === null || typeof v !== 'object' || Array.isArray(v)) return v !== null && typeof v === 'object' ? undefined : scalar(v);
  const entries = Object.entries(v).filter(([, x]) => !empty(x));
  if (entries.length > 5 || entries.some(([, x]) => typeof x === 'object')) return undefined;
  return `{${entries.map(([k, x]) => `${scalar(k)}: ${scalar(x)}`).join(', ')}}`;
}

function scalar(v: unknown): string {
  if (typeof v !== 'string') return String(v);
  return /^[\w./@][\w ./@=+%-]*$/.test(v) && !/^(true|false|null|yes|no|on|off)$|^[\d.eE_]+$|^0[xo]/i.test(v) && !v.endsWith(' ') ? v : JSON.stringify(v);
}
