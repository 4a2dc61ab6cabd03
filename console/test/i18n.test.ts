import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { en } from '../src/i18n/en';
import { zh } from '../src/i18n/zh';

const base = (k: string) => k.replace(/_(one|other)$/, '');
const names = (o: object) => [...new Set(Object.keys(o).map(base))].sort();
const holes = (s: string) => [...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort();

function sources(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((e) =>
    e.isDirectory() ? (e.name === 'i18n' ? [] : sources(join(dir, e.name))) : /\.tsx?$/.test(e.name) ? [readFileSync(join(dir, e.name), 'utf8')] : []);
}

describe('the two languages', () => {
  test('have the same sentences', () => {
    expect(names(zh)).toEqual(names(en));
  });

  test('fill in the same values', () => {
    const full: Record<string, string> = zh;
    for (const [key, text] of Object.entries(en)) {
      expect([key, holes(full[key] ?? full[`${base(key)}_other`]!)]).toEqual([key, holes(text)]);
    }
  });

  test('have no sentence that no page says', () => {
    const code = sources(join(import.meta.dirname, '../src')).join('\n');
    const unused = names(en).filter((k) => !code.includes(`'${k}'`) && !code.includes(`"${k}"`));
    expect(unused).toEqual([]);
  });

  test('put a half-width space between Han and Latin', () => {
    for (const [key, text] of Object.entries(zh)) {
      const bare = text.replace(/`[^`]*`/g, '');
      expect([key, /[\p{Script=Han}][A-Za-z0-9]|[A-Za-z0-9][\p{Script=Han}]/u.test(bare)]).toEqual([key, false]);
    }
  });

  test('leave no English sentence in the Chinese console', () => {
    const same = Object.entries(zh).filter(([k, v]) => v === (en as Record<string, string>)[k] && !/^(Lineshaft|CPU)$/.test(v));
    expect(same).toEqual([]);
  });
});
