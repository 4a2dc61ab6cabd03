package app

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/native"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/solve"
)

// SolverCache is where compiled solvers are kept: in the user's cache folder, never in the data folder. It is empty when
// there is none, and then nothing is kept.
func SolverCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "lineshaft")
}

// solverMemory is the most that one solve of the server may take.
const solverMemory = 512 * units.MiB

// openSolver takes the HiGHS that the configuration names. One that does not work is no reason not to start: there is
// the one within.
func (s *Server) openSolver(ctx context.Context, _ Options) error {
	c := solve.Config{Cache: SolverCache(), Memory: solverMemory}
	if s.cfg.HiGHS != "" {
		h, err := native.Open(ctx, s.cfg.HiGHS, solverMemory)
		if err != nil {
			s.log.Warn("highs: the program named is not used; the solver within works", "err", errs.Trace(err))
		} else {
			s.log.Info("HiGHS runs as a program of its own", "version", h.Version(), "path", h.Path())
			c.Program = h
		}
	}
	s.solver = solve.New(c)
	return nil
}

// The solver is compiled when no job has run or waited for so long, or after a while in any case: services run for ever.
const (
	quiet     = time.Minute
	quietLook = 10 * time.Second
	quietWait = 15 * time.Minute
)

// compileSolver has the solver compiled once the machine has nothing better to do. Until then an interpreter serves.
func (s *Server) compileSolver(ctx context.Context) error {
	if !s.solver.Built() || SolverCache() == "" {
		return nil
	}
	look := time.NewTicker(quietLook)
	defer look.Stop()
	for idle, waited := time.Duration(0), time.Duration(0); idle < quiet && waited < quietWait; waited += quietLook {
		if s.solver.Warm() {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		if idle += quietLook; s.busy(ctx) {
			idle = 0
		}
	}
	if err := compileApart(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("the solver could not be compiled; it works, slowly", "err", errs.Trace(err))
	}
	return nil
}

// busy tells whether a job runs or waits, or nobody knows.
func (s *Server) busy(ctx context.Context) bool {
	count, err := s.db.CountJobs(ctx)
	for state, n := range count {
		if n > 0 && !state.Terminal() {
			return true
		}
	}
	return err != nil
}

// compileApart compiles in a process of this binary that gives way to all others, and whose memory is gone afterwards.
func compileApart(ctx context.Context) error {
	const op = "app.compileApart"
	exe, err := os.Executable()
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	cmd := exec.CommandContext(ctx, exe, "solve", "--warm", "--quiet")
	if err := cmd.Start(); err != nil {
		return errs.E(op, errs.Other, err)
	}
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, cmd.Process.Pid, 19) // no priority is no reason not to compile
	return errs.E(op, errs.Other, cmd.Wait())
}
