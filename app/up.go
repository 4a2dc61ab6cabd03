package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/lineshaft/lineshaft/app/demo"
	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// UpOptions say what `lineshaft up` does beside serving.
type UpOptions struct {
	// Demo tells the story of one model, from MNIST's images to answers over HTTP, and opens serving to anonymous callers
	// on this machine.
	Demo bool
	// Once ends the server when the story is told.
	Once bool
	// Epochs shortens the story's training where it is above zero.
	Epochs int
	// MNIST is the folder of the four files; the folder mnist beside the binary where empty.
	MNIST string

	Out  io.Writer // what people read
	Err  io.Writer // the server's log
	Live bool      // Out is a terminal
}

// Up runs a server until ctx ends or, with Once, until the demonstration is over.
func Up(ctx context.Context, cfg Config, o UpOptions) error {
	const op = "app.Up"
	if o.Epochs < 0 {
		return errs.Errorf(op, errs.Invalid, "--epochs must be above zero, is %d", o.Epochs)
	}
	if (o.Once || o.Epochs > 0 || o.MNIST != "") && !o.Demo {
		return errs.Errorf(op, errs.Invalid, "--once, --epochs and --mnist are parts of the demonstration: add --demo")
	}
	level := slog.LevelInfo
	if o.Demo {
		level = slog.LevelWarn // the story is what people read
	}
	s, err := Open(ctx, cfg, Options{Demo: o.Demo, Log: slog.New(slog.NewTextHandler(o.Err, &slog.HandlerOptions{Level: level}))})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	if err := s.greet(ctx, o); err != nil {
		s.Close()
		return err
	}
	go func() { ended <- s.Run(ctx) }()
	if !o.Demo {
		return <-ended
	}
	told := make(chan error, 1)
	go func() { told <- s.demo(ctx, o) }()
	select {
	case err := <-ended:
		stop()
		return cmp.Or(err, <-told)
	case err = <-told:
	}
	if o.Once || err != nil {
		stop()
		return errors.Join(err, <-ended)
	}
	fmt.Fprintf(o.Out, "\n  The server goes on; end it with Ctrl-C.\n")
	return <-ended
}

// greet says where everything is.
func (s *Server) greet(ctx context.Context, o UpOptions) error {
	fmt.Fprintf(o.Out, "Lineshaft 天轴 %s\n", Version)
	fmt.Fprintf(o.Out, "  console and API  %s\n", s.URL())
	fmt.Fprintf(o.Out, "  serving          %s (REST), %s (gRPC)\n", s.ServeURL(), s.GRPCAddr())
	fmt.Fprintf(o.Out, "  data folder      %s\n", s.cfg.Data)
	if !s.created && !o.Demo {
		fmt.Fprintf(o.Out, "  sign in          `lineshaft users link admin` makes a link\n\n")
		return nil
	}
	link, err := s.SignInLink(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "  sign in as admin %s\n                   (works once, within the hour)\n\n", link)
	return nil
}

func (s *Server) demo(ctx context.Context, o UpOptions) error {
	files := o.MNIST
	if files == "" {
		exe, err := os.Executable()
		if err != nil {
			return errs.E("app.demo", errs.Other, err)
		}
		files = filepath.Join(filepath.Dir(exe), "mnist")
	}
	return demo.Run(ctx, demo.Options{
		Client: client.Socket(s.cfg.Data), Serve: s.ServeURL(), Console: s.URL(),
		Files: files, Epochs: o.Epochs, Out: o.Out, Live: o.Live,
	})
}
