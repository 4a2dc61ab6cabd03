// What must hold of every page, as a list of what does not: names for what can be pressed or read, one heading of the
// first order and no order left out, unique ids, a language, contrast, and no word of the other language.
(() => {
  const faults = [];
  const seen = (e) => { const r = e.getBoundingClientRect(); const s = getComputedStyle(e); return r.width > 0 && r.height > 0 && s.visibility !== 'hidden' && s.display !== 'none'; };
  const show = (e) => `<${e.tagName.toLowerCase()} class="${e.getAttribute('class') ?? ''}"> ${(e.textContent ?? '').trim().slice(0, 40)}`;
  const name = (e) => {
    const by = e.getAttribute('aria-labelledby')?.split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join(' ');
    const label = e.labels?.length ? [...e.labels].map((l) => l.textContent).join(' ') : '';
    return (e.getAttribute('aria-label') || by || label || e.getAttribute('title') || e.getAttribute('alt') || e.textContent || '').trim();
  };
  for (const e of document.querySelectorAll('button, a[href], [role=button], [role=menuitem], [role=option], input, select, textarea, [role=img], img, [role=progressbar], [role=dialog], nav, section')) {
    if (seen(e) && e.type !== 'hidden' && !name(e)) faults.push(`no name: ${show(e)}`);
  }
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  for (const id of new Set(ids.filter((x, i) => ids.indexOf(x) !== i))) faults.push(`id ${id} is there twice`);
  const levels = [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].filter(seen).map((h) => Number(h.tagName[1]));
  if (levels.filter((l) => l === 1).length !== 1) faults.push(`${levels.filter((l) => l === 1).length} headings of the first order`);
  levels.forEach((l, i) => { if (i && l > levels[i - 1] + 1) faults.push(`a heading of order ${l} follows one of order ${levels[i - 1]}`); });
  if (document.querySelectorAll('main').length !== 1) faults.push('not one main');
  for (const th of document.querySelectorAll('table thead th')) if (!th.textContent.trim()) faults.push('a column without a name');
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) faults.push('the page scrolls sideways');

  // Contrast by WCAG 2.2, of every piece of text on the nearest opaque ground.
  const parse = (c) => { const m = c.match(/rgba?\(([^)]+)\)/); if (!m) return null; const [r, g, b, a = 1] = m[1].split(/[ ,/]+/).map(Number); return [r, g, b, a]; };
  const lum = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => { for (let n = e; n; n = n.parentElement) { const c = parse(getComputedStyle(n).backgroundColor); if (c && c[3] === 1) return c; } return [255, 255, 255, 1]; };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !seen(e) || e.closest('[disabled], [data-disabled], script, style, noscript, .hidden, .skip, svg')) continue;
    const s = getComputedStyle(e);
    const c = parse(s.color);
    if (!c) continue;
    const [a, b] = [lum(c), lum(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const big = parseFloat(s.fontSize) >= 24 || (parseFloat(s.fontSize) >= 18.66 && Number(s.fontWeight) >= 700);
    if (ratio < (big ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)}: ${show(e)}`);
  }

  // Labels of the frame and the tables are in the page's language; what the server wrote is in the server's.
  const zh = document.documentElement.lang.startsWith('zh');
  for (const e of document.querySelectorAll('h1, h2, thead th, .kpi dt, .side .item, .facts dt:not(.mono), main button:not(.lang button):not(.digit)')) {
    const text = e.textContent.trim();
    if (zh && /^[A-Z][a-z]+( [a-z]+)*$/.test(text)) faults.push(`not in Chinese: ${show(e)}`);
    if (!zh && /\p{Script=Han}/u.test(text)) faults.push(`not in English: ${show(e)}`);
  }
  return [...new Set(faults)];
})()
