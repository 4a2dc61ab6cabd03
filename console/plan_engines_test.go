//go:build engines

package console_test

import (
	"slices"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
)

// planned submits work that fills the machine and work that waits for it, and reads the plan of both.
func planned(t *testing.T, b *browser) {
	b.open(t, b.base+"/jobs/new")
	b.until(t, `!!document.querySelector('.editor textarea')`)
	b.eval(t, `fetch('/api/v1/overview').then(r => r.json()).then(async o => { for (const name of ['holds', 'behind'])
		await fetch('/api/v1/jobs', {method: 'POST', headers: {'Content-Type': 'application/json'},
			body: JSON.stringify({name, command: ['sleep', '600'], resources: {cpu: o.nodes[0].cpu, memory: '64MiB'}})}); window.submitted = true; })`)
	b.until(t, `window.submitted`)
	b.open(t, b.base+"/jobs")
	b.until(t, `!!document.querySelector('.gantt') && [...document.querySelectorAll('main a.name')].some(x => x.textContent.includes('behind'))`)
	b.eval(t, `document.querySelector('.gantt').focus()`)
	b.key(t, "+")
	b.eval(t, `document.querySelector('.gantt').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true}))`)
	b.until(t, `document.querySelector('.gantt-foot [aria-live]').textContent.includes('holds')`)
	b.until(t, `(() => { const c = document.querySelector('.gantt'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
		let n = 0; for (let i = 3; i < d.length; i += 4) if (d[i]) n++; return n > 1000; })()`)
	b.eval(t, `document.querySelector('.gantt').dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}))`)
	b.until(t, `/^\/jobs\/\d+$/.test(location.pathname)`)
}

// frames prints what a frame of the chart costs with a thousand jobs, for people to read: it asserts nothing of time.
func frames(t *testing.T, b *browser) {
	call(t, b, performance.Enable, performance.EnableParams{})
	call(t, b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `if (sessionStorage.getItem('thousand')) {
		const real = fetch, at = s => new Date(Date.now() + s * 1000).toISOString();
		const running = Array.from({length: 1000}, (_, i) => ({job: 100 + i, name: 'sweep-' + i, owner: 'ann', queue: 'batch', state: 'running', priority: 0, preemptible: true,
			placements: [{task: 0, node: 'hall-' + (i % 60), accelerators: [String(i % 8)]}], since: at(-(i * 37) % 4000), until: at(60 + (i * 91) % 7000)}));
		window.fetch = (url, init) => String(url).endsWith('/plan') ? Promise.resolve(new Response(JSON.stringify({now: at(0), queues: [], running, waiting: []}))) : real(url, init); }`})
	b.eval(t, `sessionStorage.setItem('thousand', '1')`)
	b.open(t, b.base+"/jobs")
	b.until(t, `document.querySelector('.gantt')?.getAttribute('aria-label').includes('1000')`)
	b.settle(t)
	b.eval(t, `document.querySelector('.gantt').focus()`)
	cost := func() (ms float64) {
		got, err := chromedp.Call(b.ctx, performance.GetMetrics, cdp.Empty{})
		if err != nil {
			t.Fatalf("chromium: %v", err)
		}
		for _, m := range got.Metrics {
			if slices.Contains([]string{"ScriptDuration", "LayoutDuration", "RecalcStyleDuration"}, m.Name) {
				ms += m.Value * 1000
			}
		}
		return ms
	}
	var all []float64
	for i := range 240 {
		before := cost()
		event := `new WheelEvent('wheel', {deltaY: ` + []string{"-60", "60"}[i/20%2] + `, bubbles: true, cancelable: true})`
		if i%3 == 2 {
			event = `new KeyboardEvent('keydown', {key: '` + []string{"PageDown", "ArrowRight", "PageUp", "ArrowLeft"}[i/3%4] + `', bubbles: true})`
		}
		b.eval(t, `window.drawn = false; document.querySelector('.gantt').dispatchEvent(`+event+`); requestAnimationFrame(() => requestAnimationFrame(() => { window.drawn = true; }))`)
		for !value[bool](t, b, `window.drawn`) {
		}
		all = append(all, cost()-before)
	}
	slices.Sort(all)
	t.Logf("1,000 jobs: scripting, styles and layout of a frame %.2f ms at p50, %.2f ms at p95, %.2f ms at most, of %d frames", all[len(all)/2], all[len(all)*95/100], all[len(all)-1], len(all))
	b.eval(t, `sessionStorage.removeItem('thousand')`)
}

// released ends what planned submitted.
func released(t *testing.T, b *browser) {
	b.open(t, b.base+"/jobs")
	b.eval(t, `fetch('/api/v1/plan').then(r => r.json()).then(p => { for (const j of [...p.waiting, ...p.running]) if (['holds', 'behind'].includes(j.name))
		fetch('/api/v1/jobs/' + j.job + '/cancel', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}); })`)
	b.until(t, `!document.querySelector('.gantt')`)
}
