import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const css = readFileSync(join(import.meta.dirname, '../src/styles/tokens.css'), 'utf8');
const [light, dark] = css.split("[data-mantine-color-scheme='dark']").map((part) =>
  Object.fromEntries([...part.matchAll(/--(\w+):\s*(#[0-9a-f]{3,6})\b/g)].map((m) => [m[1]!, m[2]!])));

/** Relative luminance and contrast as WCAG 2.2 defines them. */
function luminance(hex: string): number {
  const full = hex.length === 4 ? [...hex.slice(1)].map((c) => c + c).join('') : hex.slice(1);
  const [r, g, b] = [0, 2, 4].map((i) => parseInt(full.slice(i, i + 2), 16) / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}
const contrast = (a: string, b: string) => {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
  return (x! + 0.05) / (y! + 0.05);
};

describe.each([['light', light!], ['dark', dark!]])('in the %s theme', (_, t) => {
  test('every colour of text has a contrast of at least 4.5 on every ground', () => {
    for (const ground of ['bg', 'panel', 'line2']) {
      for (const text of ['ink', 'ink2', 'ink3', 'accent', 'run', 'ok', 'warn', 'bad']) {
        if (ground === 'line2' && !['ink', 'ink2'].includes(text)) continue;
        expect([text, ground, contrast(t[text]!, t[ground]!) >= 4.5]).toEqual([text, ground, true]);
      }
    }
  });

  test('what shows where one may press or draw has a contrast of at least 3', () => {
    expect(contrast(t.edge!, t.panel!)).toBeGreaterThanOrEqual(3);
  });
});
