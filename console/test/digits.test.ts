import { describe, expect, test } from 'vitest';
import { examples, picture, pixels, shaped, side, smooth } from '../src/pages/serving/digits';

const centre = (p: Float32Array) => {
  let m = 0, x = 0, y = 0;
  p.forEach((v, i) => { m += v; x += v * (i % side); y += v * Math.floor(i / side); });
  return [x / m, y / m, m] as const;
};
const bounds = (p: Float32Array) => {
  const on = [...p.keys()].filter((i) => p[i]! > 0.3);
  const xs = on.map((i) => i % side), ys = on.map((i) => Math.floor(i / side));
  return [Math.max(...xs) - Math.min(...xs) + 1, Math.max(...ys) - Math.min(...ys) + 1] as const;
};

describe('a drawn digit', () => {
  test('has its centre of mass in the middle of 28 × 28, wherever it was drawn', () => {
    for (const strokes of examples) {
      for (const [dx, dy] of [[0, 0], [0.2, -0.1], [-0.25, 0.1]] as const) {
        const [x, y] = centre(picture(strokes.map((s) => s.map((p) => ({ x: p.x + dx, y: p.y + dy })))));
        expect(Math.abs(x - 13.5)).toBeLessThan(0.6);
        expect(Math.abs(y - 13.5)).toBeLessThan(0.6);
      }
    }
  });

  test('fills a box of about 20 × 20 whatever its size, with its proportions', () => {
    for (const scale of [1, 0.5, 0.15]) {
      const [w, h] = bounds(picture(examples[3]!.map((s) => s.map((p) => ({ x: p.x * scale, y: p.y * scale })))));
      expect(h).toBeGreaterThanOrEqual(18);
      expect(h).toBeLessThanOrEqual(21);
      expect(w).toBeLessThan(h);
    }
  });

  test('is about as bold as MNIST’s digits are, between 5 and 25 hundredths of the picture', () => {
    for (const strokes of examples) {
      const share = centre(picture(strokes))[2] / (side * side);
      expect(share).toBeGreaterThan(0.04);
      expect(share).toBeLessThan(0.25);
    }
  });

  test('keeps to values between 0 and 1 and is written in few digits', () => {
    const p = pixels(picture(examples[8]!));
    expect(p).toHaveLength(784);
    expect(p.every((v) => v >= 0 && v <= 1)).toBe(true);
    expect(JSON.stringify(p).length).toBeLessThan(784 * 7);
  });

  test('may be a single dot, and nothing at all is an empty picture', () => {
    expect(centre(picture([[{ x: 0.5, y: 0.5 }]]))[2]).toBeGreaterThan(1);
    expect(picture([]).every((v) => v === 0)).toBe(true);
    expect(picture([[]]).every((v) => v === 0)).toBe(true);
  });

  test('comes as a row, a square or a square with a channel', () => {
    const p = pixels(picture(examples[1]!));
    expect(shaped(p, 'row')).toHaveLength(784);
    expect(shaped(p, 'square')).toHaveLength(28);
    expect((shaped(p, 'channel') as number[][][])[0]![0]).toHaveLength(1);
  });

  test('is smoothed without losing its ends', () => {
    const s = [{ x: 0, y: 0 }, { x: 1, y: 0 }, { x: 1, y: 1 }];
    const out = smooth(s);
    expect(out[0]).toEqual(s[0]);
    expect(out.at(-1)).toEqual(s[2]);
    expect(out.length).toBeGreaterThan(s.length);
  });
});
