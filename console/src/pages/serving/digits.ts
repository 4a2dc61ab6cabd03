/** From a pen's strokes to the picture that a network trained on MNIST knows. */

export interface Point { x: number; y: number }
export type Stroke = Point[];

export const side = 28;
const box = 20; // MNIST's digits fill a box of 20 × 20
const radius = 1.05; // half the width of a pen there, in pixels of the picture
const fade = 0.85; // from full ink to none at the edge

/** Takes the shake out of a stroke: two rounds of Chaikin's corner cutting, ends kept. */
export function smooth(s: Stroke): Stroke {
  let out = s;
  for (let round = 0; round < 2 && out.length > 2; round++) {
    const next: Stroke = [out[0]!];
    for (let i = 0; i < out.length - 1; i++) {
      const a = out[i]!, b = out[i + 1]!;
      next.push({ x: a.x * 0.75 + b.x * 0.25, y: a.y * 0.75 + b.y * 0.25 }, { x: a.x * 0.25 + b.x * 0.75, y: a.y * 0.25 + b.y * 0.75 });
    }
    next.push(out.at(-1)!);
    out = next;
  }
  return out;
}

/**
 * Scales the strokes with their proportions into the box of 20 × 20, draws them there with MNIST's own pen, and moves
 * the centre of mass to the middle of 28 × 28, as the makers of MNIST did. Values are 0 to 1, row by row.
 */
export function picture(strokes: Stroke[]): Float32Array {
  const out = new Float32Array(side * side);
  const lines = strokes.filter((s) => s.length > 0).map(smooth);
  const all = lines.flat();
  if (!all.length) return out;
  const xs = all.map((p) => p.x), ys = all.map((p) => p.y);
  const left = Math.min(...xs), top = Math.min(...ys);
  const extent = Math.max(Math.max(...xs) - left, Math.max(...ys) - top);
  const room = box - 2 * radius;
  // A dot stays a dot and is not blown up to the whole box.
  const scale = extent < 0.02 ? 0 : room / extent;
  const placed = lines.map((s) => s.map((p) => ({ x: (p.x - left) * scale + radius, y: (p.y - top) * scale + radius })));

  const first = ink(placed, 0, 0);
  let mass = 0, cx = 0, cy = 0;
  first.forEach((v, i) => { mass += v; cx += v * (i % side); cy += v * Math.floor(i / side); });
  if (mass === 0) return out;
  return ink(placed, side / 2 - 0.5 - cx / mass, side / 2 - 0.5 - cy / mass);
}

/** Draws the lines moved by (dx, dy): a pixel's ink falls off with its distance from the nearest piece of a line. */
function ink(lines: Stroke[], dx: number, dy: number): Float32Array {
  const out = new Float32Array(side * side);
  const reach = radius + fade;
  for (const line of lines) {
    for (let k = 0; k < Math.max(1, line.length - 1); k++) {
      const a = line[k]!, b = line[k + 1] ?? a;
      const ax = a.x + dx, ay = a.y + dy, bx = b.x + dx, by = b.y + dy;
      const x0 = Math.max(0, Math.floor(Math.min(ax, bx) - reach)), x1 = Math.min(side - 1, Math.ceil(Math.max(ax, bx) + reach));
      const y0 = Math.max(0, Math.floor(Math.min(ay, by) - reach)), y1 = Math.min(side - 1, Math.ceil(Math.max(ay, by) + reach));
      const ux = bx - ax, uy = by - ay, length = ux * ux + uy * uy;
      for (let y = y0; y <= y1; y++) {
        for (let x = x0; x <= x1; x++) {
          const u = length ? Math.max(0, Math.min(1, ((x - ax) * ux + (y - ay) * uy) / length)) : 0;
          const d = Math.hypot(x - ax - u * ux, y - ay - u * uy);
          const v = Math.max(0, Math.min(1, (reach - d) / fade));
          const i = y * side + x;
          if (v > out[i]!) out[i] = v;
        }
      }
    }
  }
  return out;
}

/** The picture as JSON wants it: bytes over 255 in few digits. */
export const pixels = (p: Float32Array): number[] => Array.from(p, (v) => Math.round(Math.round(v * 255) / 255 * 1e4) / 1e4);

/** The shapes in which networks take a picture: a row, a square, a square with a channel. */
export const shapes = ['row', 'square', 'channel'] as const;
export type Shape = (typeof shapes)[number];
export function shaped(p: number[], shape: Shape): unknown {
  if (shape === 'row') return p;
  return Array.from({ length: side }, (_, y) => p.slice(y * side, (y + 1) * side).map((v) => (shape === 'channel' ? [v] : v)));
}

const arc = (cx: number, cy: number, rx: number, ry: number, from: number, to: number, n = 24): Stroke =>
  Array.from({ length: n + 1 }, (_, i) => {
    const a = ((from + ((to - from) * i) / n) * Math.PI) / 180;
    return { x: cx + rx * Math.cos(a), y: cy + ry * Math.sin(a) };
  });
const path = (...p: [number, number][]): Stroke => p.map(([x, y]) => ({ x, y }));

/** A digit of each kind, drawn by rule, for whoever has no pen. The unit square is the pad. */
export const examples: Stroke[][] = [
  [arc(0.5, 0.5, 0.22, 0.32, -90, 270, 40)],
  [path([0.42, 0.3], [0.53, 0.18], [0.53, 0.5], [0.53, 0.82])],
  [[...arc(0.5, 0.36, 0.2, 0.18, -170, 25), ...path([0.6, 0.52], [0.45, 0.68], [0.31, 0.82], [0.5, 0.81], [0.71, 0.81])]],
  [[...arc(0.47, 0.34, 0.2, 0.16, -150, 90), ...arc(0.47, 0.66, 0.22, 0.17, -90, 150)]],
  [path([0.4, 0.18], [0.34, 0.36], [0.29, 0.54], [0.5, 0.54], [0.72, 0.54]), path([0.63, 0.2], [0.61, 0.5], [0.58, 0.84])],
  [[...path([0.68, 0.19], [0.52, 0.19], [0.38, 0.2], [0.36, 0.34], [0.35, 0.46]), ...arc(0.48, 0.63, 0.19, 0.19, -110, 150)]],
  [[...path([0.6, 0.17], [0.46, 0.32], [0.36, 0.5], [0.33, 0.62]), ...arc(0.49, 0.66, 0.16, 0.17, 180, -180, 30)]],
  [path([0.3, 0.2], [0.5, 0.19], [0.71, 0.2], [0.6, 0.4], [0.51, 0.6], [0.45, 0.83])],
  [[...arc(0.5, 0.34, 0.15, 0.15, 90, -270, 28), ...arc(0.5, 0.66, 0.18, 0.17, -90, 270, 28)]],
  [[...arc(0.49, 0.35, 0.17, 0.16, 0, -360, 30), ...path([0.66, 0.36], [0.65, 0.5], [0.62, 0.66], [0.57, 0.84])]],
];
