package cli

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"

	"github.com/lineshaft/lineshaft/internal/units"
)

// bar is a line on standard error that is written over while something goes on. Where standard error is no terminal, it
// shows nothing: whoever needs lines there says them.
type bar struct {
	w     io.Writer
	width int // 0: no terminal
	drawn bool
}

func (e *env) bar() *bar {
	width, _ := e.size(e.err)
	if e.quiet {
		width = 0
	}
	return &bar{w: e.err, width: width}
}

// draw shows how much of the whole is done, between two texts. A negative fraction shows the texts alone.
func (b *bar) draw(before string, fraction float64, after string) {
	if b.width == 0 {
		return
	}
	text := before
	if fraction >= 0 {
		room := min(30, b.width-columns(before)-columns(after)-8)
		if room >= 5 {
			text += " " + blocks(fraction, room)
		}
		text += fmt.Sprintf(" %3.0f%%", 100*min(1, fraction))
	}
	if after != "" {
		text += "  " + after
	}
	fmt.Fprintf(b.w, "\r\x1b[K%s", cut(text, b.width-1))
	b.drawn = true
}

// clear takes the line away.
func (b *bar) clear() {
	if b.drawn {
		fmt.Fprint(b.w, "\r\x1b[K")
		b.drawn = false
	}
}

// blocks is a bar of width cells in eighths.
func blocks(fraction float64, width int) string {
	eighths := int(math.Round(min(1, max(0, fraction)) * float64(8*width)))
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s + strings.Repeat("░", width-columns(s))
}

// counted draws how much of a transfer is done as it is read or written.
type counted struct {
	r     io.Reader
	w     io.Writer
	what  string
	total int64 // 0: unknown
	done  int64
	shown int64
	bar   *bar
	mu    sync.Mutex // an upload is read by the HTTP client's goroutine
}

// drawEvery is how many bytes go by between two drawings.
const drawEvery = 1 << 20

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.count(n)
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.count(n)
	return n, err
}

func (c *counted) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done += int64(n); c.done-c.shown < drawEvery {
		return
	}
	c.shown = c.done
	if c.total > 0 {
		c.bar.draw(c.what, float64(c.done)/float64(c.total), units.Bytes(c.done).String()+" of "+units.Bytes(c.total).String())
	} else {
		c.bar.draw(c.what, -1, units.Bytes(c.done).String())
	}
}
