import type { TensorSpec, VersionStatus } from '../../api/types';

const size = (shape: number[]) => shape.slice(1).reduce((n, d) => n * d, 1);

/** Whether the pad can ask this version: a picture of 28 × 28 in, one number for each digit out. Unknown versions may. */
export function draws(v: VersionStatus | undefined): boolean {
  const [x, more] = v?.inputs ?? [];
  const [y] = v?.outputs ?? [];
  return !x || (!more && x.type === 'float32' && size(x.shape) === 784 && !!y && size(y.shape) === 10);
}

/** A tensor in a word: x float32[?, 784]. */
export const shape = (s: TensorSpec) => `${s.name} ${s.type}[${s.shape.map((d) => (d < 0 ? '?' : d)).join(', ')}]`;

function zeros(type: string, shape: number[]): unknown {
  if (!shape.length) return type === 'bytes' ? 'text' : type === 'bool' ? false : 0;
  const [n, ...rest] = shape as [number, ...number[]];
  return Array.from({ length: n < 0 ? 1 : n }, () => zeros(type, rest));
}

const most = 2000; // numbers that a person may want to see in a text field

/** A request of one row of zeros, in the form of TensorFlow Serving, to begin with. */
export function example(v: VersionStatus | undefined): string {
  const inputs = v?.inputs ?? [];
  if (!inputs.length || inputs.reduce((n, s) => n + Math.abs(size(s.shape)), 0) > most) return '{"instances": []}';
  const row = (s: TensorSpec) => zeros(s.type, s.shape.slice(1));
  if (inputs.length === 1) return JSON.stringify({ instances: [row(inputs[0]!)] });
  return JSON.stringify({ inputs: Object.fromEntries(inputs.map((s) => [s.name, zeros(s.type, s.shape)])) }, null, 1);
}
