import type { Amount, Node } from '../../api/types';
import { toBytes } from '../../format';

export interface Whole { cpu: number; memory: number; accelerators: number }

/** What the nodes have together. */
export function whole(nodes: Node[]): Whole {
  const sum: Whole = { cpu: 0, memory: 0, accelerators: 0 };
  for (const n of nodes) {
    sum.cpu += n.cpu;
    sum.memory += n.memory;
    sum.accelerators += n.accelerators?.length ?? 0;
  }
  return sum;
}

/** An amount as a part of the whole: of the resource when the amount names it, else of the one that it has most of. */
export function part(a: Amount | undefined, of: Whole, resource: string): number | undefined {
  const parts = new Map<string, number>();
  for (const k of ['cpu', 'memory', 'accelerators'] as const) {
    const v = toBytes(a?.[k]);
    if (v && of[k] > 0) parts.set(k, v / of[k]);
  }
  return parts.get(resource) ?? (parts.size ? Math.max(...parts.values()) : undefined);
}
