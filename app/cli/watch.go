package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
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
		var b bytes.Buffer
		if e.human() {
			e.print(&b, l.table(items))
		} else if text, err := e.encode(list(items)); err != nil {
			return err
		} else {
			b.Write(text)
		}
		if !bytes.Equal(b.Bytes(), last) {
			last = bytes.Clone(b.Bytes())
			if err := e.repaint(last); err != nil {
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

func (e *env) repaint(text []byte) error {
	if terminal(e.out) >= 0 && e.human() {
		_, height := e.size(e.out)
		lines := bytes.SplitAfter(text, []byte("\n"))
		if len(lines) > height { // the newest are on top
			text = bytes.Join(lines[:height-1], nil)
		}
		fmt.Fprint(e.out, "\x1b[H\x1b[2J")
	} else if e.output == "yaml" {
		fmt.Fprintln(e.out, "---")
	}
	_, err := e.out.Write(text)
	return err
}
