import { Tag } from '../../ui/icons';

/** Aliases with the version each points to, or without when it is given. */
export function Aliases({ of, version }: { of: Record<string, number> | null; version?: number }) {
  const shown = Object.entries(of ?? {}).filter(([, v]) => version === undefined || v === version).sort();
  if (!shown.length) return <span className="dim">–</span>;
  return <span className="row wrap" style={{ gap: 4 }}>{shown.map(([name, v]) => <span key={name} className="tag"><Tag size={11} />{name}{version === undefined && ` → ${v}`}</span>)}</span>;
}
