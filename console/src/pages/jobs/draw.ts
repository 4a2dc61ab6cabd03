import { called, firstAfter, ticks, type Bar, type Layout, type View } from './layout';

export const rowHeight = 24;
export const axisHeight = 26;

export interface Look {
  ink: string; ink2: string; line: string; line2: string; panel: string; edge: string; run: string; warn: string; accent: string; sans: string;
  /** Widths of texts that were measured already. */
  widths: Map<string, number>;
  time: (at: number, step: number) => string;
}

export interface Scene { layout: Layout; view: View; now: number; width: number; height: number; gutter: number; picked: Bar | undefined }

export const xOf = (s: Scene, time: number) => s.gutter + ((time - s.view.from) / (s.view.to - s.view.from)) * (s.width - s.gutter);
export const timeOf = (s: Scene, x: number) => s.view.from + ((x - s.gutter) / Math.max(1, s.width - s.gutter)) * (s.view.to - s.view.from);

/** The bar at a point of the canvas. */
export function barAt(s: Scene, x: number, y: number): Bar | undefined {
  if (x < s.gutter || y < axisHeight) return undefined;
  const row = s.layout.rows[Math.floor((y - axisHeight + s.view.top) / rowHeight)];
  const slack = ((s.view.to - s.view.from) / Math.max(1, s.width - s.gutter)) * 3;
  const time = timeOf(s, x);
  const bar = row?.bars[firstAfter(row.bars, time - slack)];
  return bar && bar.from <= time + slack ? bar : undefined;
}

/** Draws what is to be seen and nothing else, so that the cost of a frame follows the canvas and not the plan. */
export function draw(ctx: CanvasRenderingContext2D, s: Scene, look: Look): void {
  const { view, width, height, gutter, layout } = s;
  ctx.clearRect(0, 0, width, height);
  ctx.font = `11px ${look.sans}`;
  ctx.textBaseline = 'middle';
  ctx.lineWidth = 1;
  const first = Math.max(0, Math.floor(view.top / rowHeight));
  const last = Math.min(layout.rows.length - 1, Math.floor((view.top + height - axisHeight) / rowHeight));
  const yOf = (row: number) => axisHeight + row * rowHeight - view.top;

  const marks = ticks(view, width - gutter);
  ctx.strokeStyle = look.line2;
  ctx.beginPath();
  for (const at of marks.at) {
    const x = Math.round(xOf(s, at)) + 0.5;
    ctx.moveTo(x, axisHeight);
    ctx.lineTo(x, height);
  }
  ctx.stroke();

  ctx.save();
  ctx.beginPath();
  ctx.rect(0, axisHeight, width, height - axisHeight);
  ctx.clip();
  for (let i = first; i <= last; i++) {
    const row = layout.rows[i]!;
    if (row.label && i > 0) {
      ctx.strokeStyle = look.line2;
      ctx.beginPath();
      ctx.moveTo(0, Math.round(yOf(i)) + 0.5);
      ctx.lineTo(width, Math.round(yOf(i)) + 0.5);
      ctx.stroke();
    }
    if (row.label) {
      ctx.fillStyle = look.ink2;
      text(ctx, look, row.label, 15, yOf(i) + rowHeight / 2, gutter - 24);
    }
  }
  ctx.beginPath();
  ctx.rect(gutter, axisHeight, width - gutter, height - axisHeight);
  ctx.clip();
  for (let i = first; i <= last; i++) {
    const bars = layout.rows[i]!.bars;
    for (let k = firstAfter(bars, view.from); k < bars.length && bars[k]!.from < view.to; k++) bar(ctx, s, look, bars[k]!, yOf(i));
  }
  ctx.restore();
  rest(ctx, s, look, marks);
}

/** One piece of work: solid while it runs, outlined while it waits; dashed where its end cannot be told. */
function bar(ctx: CanvasRenderingContext2D, s: Scene, look: Look, b: Bar, y: number) {
  const x = Math.max(xOf(s, b.from), s.gutter - 4);
  const end = Math.min(b.to === Infinity ? s.width + 4 : xOf(s, b.to), s.width + 4);
  const solid = b.waits || b.reserved !== undefined ? x : b.to === Infinity ? Math.min(Math.max(xOf(s, s.now), x + 2), end) : end;
  const top = y + 3, tall = rowHeight - 6;
  const colour = b.state === 'stopping' ? look.warn : look.run;
  if (solid > x) {
    ctx.fillStyle = colour;
    ctx.fillRect(x, top, Math.max(solid - x, 2), tall);
  }
  if (b.waits || b.to === Infinity) {
    ctx.strokeStyle = b.waits ? look.edge : colour;
    ctx.setLineDash(b.to === Infinity ? [4, 3] : []);
    ctx.strokeRect(Math.round(solid) + 0.5, top + 0.5, Math.max(end - solid - 1, 2), tall - 1);
    ctx.setLineDash([]);
  }
  if (b.reserved !== undefined) hatch(ctx, look, x, top, Math.max(end - x, 2), tall);
  if (b === s.picked) {
    ctx.strokeStyle = look.ink;
    ctx.lineWidth = 2;
    ctx.strokeRect(x - 1, top - 1, Math.max(end - x, 3) + 2, tall + 2);
    ctx.lineWidth = 1;
  }
  // The name stands on what is solid where it fits there, else on what is not.
  const wide = solid - x >= end - solid;
  ctx.fillStyle = wide ? look.panel : look.ink;
  text(ctx, look, called(b), Math.max(wide ? x : solid, s.gutter) + 6, y + rowHeight / 2, (wide ? solid : end) - Math.max(wide ? x : solid, s.gutter) - 10);
}

/** Room that is kept: hatched, since nothing runs in it yet. */
function hatch(ctx: CanvasRenderingContext2D, look: Look, x: number, top: number, wide: number, tall: number) {
  ctx.save();
  ctx.strokeStyle = look.edge;
  ctx.strokeRect(Math.round(x) + 0.5, top + 0.5, Math.max(wide - 1, 2), tall - 1);
  ctx.beginPath();
  ctx.rect(x, top, wide, tall);
  ctx.clip();
  ctx.strokeStyle = look.edge;
  ctx.globalAlpha = 0.45;
  ctx.beginPath();
  for (let at = x - tall; at < x + wide; at += 7) {
    ctx.moveTo(at, top + tall);
    ctx.lineTo(at + tall, top);
  }
  ctx.stroke();
  ctx.restore();
}

/** The axis, the line between names and times, and the line of now, over all else. */
function rest(ctx: CanvasRenderingContext2D, s: Scene, look: Look, marks: { at: number[]; step: number }) {
  ctx.fillStyle = look.ink2;
  ctx.textAlign = 'center';
  const now = xOf(s, s.now);
  for (const at of marks.at) {
    const x = xOf(s, at);
    if (x > s.gutter + 24 && x < s.width - 24) ctx.fillText(look.time(at, marks.step), x, axisHeight / 2);
  }
  ctx.textAlign = 'left';
  ctx.strokeStyle = look.line;
  ctx.beginPath();
  ctx.moveTo(0, axisHeight - 0.5);
  ctx.lineTo(s.width, axisHeight - 0.5);
  ctx.moveTo(s.gutter - 0.5, 0);
  ctx.lineTo(s.gutter - 0.5, s.height);
  ctx.stroke();
  if (now >= s.gutter && now <= s.width) {
    ctx.fillStyle = look.accent;
    ctx.fillRect(Math.round(now) - 1, axisHeight - 4, 2, s.height);
    ctx.beginPath();
    ctx.moveTo(now - 4, axisHeight - 7);
    ctx.lineTo(now + 4, axisHeight - 7);
    ctx.lineTo(now, axisHeight - 1);
    ctx.fill();
  }
}

/** As much of a text as there is room for, or nothing. */
function text(ctx: CanvasRenderingContext2D, look: Look, full: string, x: number, y: number, room: number) {
  if (room < 18) return;
  let w = look.widths.get(full);
  if (w === undefined) {
    if (look.widths.size > 20_000) look.widths.clear();
    look.widths.set(full, (w = ctx.measureText(full).width));
  }
  if (w <= room) ctx.fillText(full, x, y);
  else ctx.fillText(`${full.slice(0, Math.max(1, Math.floor((full.length * (room - 8)) / w)))}…`, x, y);
}
