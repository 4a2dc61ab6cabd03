package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// watchEvery is how long a watched list may be old where no event says that it changed.
const watchEvery = 2 * time.Second

// listing is a command that lists: what to fetch, how to print it as a table, and which events change it.
type listing[T any] struct {
	topic string
	fetch func(ctx context.Context, c *client.Client) ([]T, error)
	table func(items []T) *table
}

// command makes the listing a command with --watch.
func (l listing[T]) command(e *env, cmd *cobra.Command) *cobra.Command {
	watch := false
	cmd.Args = takes
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "stay and print again whenever it changes")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := e.connect()
		if err != nil {
			return err
		}
		if watch {
			return l.watch(cmd.Context(), e, c)
		}
		items, err := l.fetch(cmd.Context(), c)
		if err != nil {
			return err
		}
		return e.show(list(items), func(w io.Writer) { e.print(w, l.table(items)) })
	}
	return cmd
}

// watch prints the list whenever it looks different: on a terminal over the old one, into a pipe after it.
func (l listing[T]) watch(ctx context.Context, e *env, c *client.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	changed := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, err := range c.Events(ctx, []string{l.topic}, 0) {
			if err != nil {
				return // the ticks go on
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	defer func() { cancel(); <-done }()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last []byte
	for {
		items, err := l.fetch(ctx, c)
		if err != nil {
			return err
		}
		seen, err := json.Marshal(items) // not what is printed: ages change all the time
		if err != nil {
			return errs.E("cli.watch", errs.Other, err)
		}
		if terminal(e.out) >= 0 && e.human() || !bytes.Equal(seen, last) {
			last = seen
			if err := l.repaint(e, items); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-tick.C:
		}
	}
}

// repaint prints the list over the one before, as much of it as the terminal has lines.
func (l listing[T]) repaint(e *env, items []T) error {
	var b bytes.Buffer
	switch {
	case e.output == "yaml":
		b.WriteString("---\n")
		fallthrough
	case !e.human():
		text, err := e.encode(list(items))
		if err != nil {
			return err
		}
		b.Write(text)
	default:
		e.print(&b, l.table(items))
		if _, height := e.size(e.out); height > 1 {
			lines := bytes.SplitAfter(b.Bytes(), []byte("\n"))
			top := bytes.Join(lines[:min(len(lines), height-1)], nil)
			b.Reset()
			b.WriteString("\x1b[H\x1b[2J" + string(top))
		}
	}
	_, err := e.out.Write(b.Bytes())
	return err
}
