package highs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"golang.org/x/sys/cpu"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Config of a module.
type Config struct {
	Compile bool        // to machine code, from Cache when it is there; else an interpreter runs it, some 30 times slower
	Cache   string      // folder of compiled modules; none is kept when empty
	Memory  units.Bytes // the most that one instance may take; 0 is DefaultMemory
}

// DefaultMemory of an instance: a problem of a million coefficients takes about half of it.
const DefaultMemory = units.GiB

const page = 64 << 10

// Module is HiGHS ready to be instantiated. Its methods may be called from any goroutine.
type Module struct {
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	compiled wazero.CompiledModule
	memory   units.Bytes
}

// Load prepares HiGHS. Compiling takes about 20 s of one core the first time, a third of a second from the cache; the
// interpreter is ready in as little.
func Load(ctx context.Context, c Config) (*Module, error) {
	const op = "highs.Load"
	code, err := wasm()
	if err != nil {
		return nil, err
	}
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	m := &Module{memory: c.Memory}
	cfg := wazero.NewRuntimeConfigInterpreter()
	if c.Compile {
		cfg = wazero.NewRuntimeConfigCompiler()
		if c.Cache != "" {
			if m.cache, err = wazero.NewCompilationCacheWithDir(entry(c.Cache)); err != nil {
				return nil, errs.Errorf(op, errs.Other, "cannot use the folder of compiled modules: %w", err)
			}
			cfg = cfg.WithCompilationCache(m.cache)
		}
	}
	m.runtime = wazero.NewRuntimeWithConfig(ctx, cfg.WithMemoryLimitPages(uint32(min(c.Memory/page, 65536))))
	if m.compiled, err = m.runtime.CompileModule(ctx, code); err == nil {
		err = m.host(ctx)
	}
	if err != nil {
		m.Close()
		return nil, errs.Errorf(op, errs.Other, "cannot prepare HiGHS: %w", err)
	}
	return m, nil
}

// Close gives the module's memory back. No instance may run.
func (m *Module) Close() {
	ctx := context.Background()
	if m.runtime != nil {
		_ = m.runtime.Close(ctx) // frees memory; has nothing to report
	}
	if m.cache != nil {
		_ = m.cache.Close(ctx)
	}
}

// Cached says whether Load finds compiled code for this processor in the folder.
func Cached(folder string) bool {
	if folder == "" {
		return false
	}
	found, err := filepath.Glob(filepath.Join(entry(folder), "*", "*"))
	if err != nil {
		return false
	}
	for _, f := range found {
		if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() && !strings.HasSuffix(f, ".tmp") {
			return true
		}
	}
	return false
}

// entry is the folder of the code compiled from this wasm, by this wazero, for a processor with these features.
func entry(folder string) string {
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/tetratelabs/wazero" {
				version = d.Version
			}
		}
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s %s %+v %+v", sum, version, cpu.X86, cpu.ARM64))
	return filepath.Join(folder, fmt.Sprintf("highs-%s-%x", Version, key[:6]))
}

// inside is what the host's functions need of the solve that calls them.
type inside struct {
	elapsed func() time.Duration
}

type insideKey struct{}

// errCaught ends an instance: C++ exceptions and exits cannot be caught inside.
var errCaught = errors.New("it raised an exception")

// host gives the wasm what it imports.
func (m *Module) host(ctx context.Context) error {
	b := m.runtime.NewHostModuleBuilder("a")
	for _, f := range m.compiled.ImportedFunctions() {
		_, short, _ := f.Import()
		fn, ok := functions[imports[short]]
		if !ok {
			return fmt.Errorf("it imports %q (%s), which the host does not have", imports[short], short)
		}
		b = b.NewFunctionBuilder().WithGoModuleFunction(fn, f.ParamTypes(), f.ResultTypes()).Export(short)
	}
	_, err := b.Instantiate(ctx)
	return err
}

// Error numbers of WASI and, negative, of Linux, as the wasm's C library expects them.
const (
	badDescriptor = 8
	noSuchFile    = ^uint64(44) + 1 // -44
)

// functions are the host's, by the C library's names. Their stack holds the arguments and then the result.
var functions = map[string]api.GoModuleFunc{
	"___cxa_throw": stop, "__abort_js": stop, "_exit": stop, "_proc_exit": stop,
	"_emscripten_get_now": milliseconds, "_emscripten_date_now": milliseconds,
	"_clock_time_get": func(ctx context.Context, m api.Module, stack []uint64) {
		now := elapsed(ctx)
		stack[0] = result(m.Memory().WriteUint64Le(uint32(stack[2]), uint64(now)))
	},
	"_emscripten_resize_heap": func(_ context.Context, m api.Module, stack []uint64) {
		want, have := uint64(uint32(stack[0])), uint64(m.Memory().Size())
		stack[0] = 1
		if want > have {
			if _, ok := m.Memory().Grow(uint32((want - have + page - 1) / page)); !ok {
				stack[0] = 0
			}
		}
	},
	"_environ_sizes_get": func(_ context.Context, m api.Module, stack []uint64) {
		ok := m.Memory().WriteUint32Le(uint32(stack[0]), 0) && m.Memory().WriteUint32Le(uint32(stack[1]), 0)
		stack[0] = result(ok)
	},
	"_environ_get": answer(0), "__setitimer_js": answer(0),
	"__tzset_js": nothing, "__emscripten_runtime_keepalive_clear": nothing,
	"___syscall_openat": answer(noSuchFile), "___syscall_fcntl64": answer(noSuchFile), "___syscall_ioctl": answer(noSuchFile),
	"_fd_close": answer(badDescriptor), "_fd_read": answer(badDescriptor), "_fd_seek": answer(badDescriptor),
	"_fd_write": write,
}

func nothing(context.Context, api.Module, []uint64) {}

func answer(v uint64) api.GoModuleFunc {
	return func(_ context.Context, _ api.Module, stack []uint64) { stack[0] = v }
}

func result(ok bool) uint64 {
	if ok {
		return 0
	}
	return badDescriptor
}

func stop(context.Context, api.Module, []uint64) { panic(errCaught) }

// elapsed is the time of the solve. The solver asks often while it works, so this is also where it is interrupted.
func elapsed(ctx context.Context) time.Duration {
	if err := ctx.Err(); err != nil {
		panic(err)
	}
	if in, ok := ctx.Value(insideKey{}).(*inside); ok && in.elapsed != nil {
		return in.elapsed()
	}
	return 0
}

func milliseconds(ctx context.Context, _ api.Module, stack []uint64) {
	stack[0] = api.EncodeF64(float64(elapsed(ctx)) / float64(time.Millisecond))
}

// write says that everything was written, and writes nothing.
func write(_ context.Context, m api.Module, stack []uint64) {
	list, n, total := uint32(stack[1]), uint32(stack[2]), uint32(0)
	for i := range n {
		size, ok := m.Memory().ReadUint32Le(list + 8*i + 4)
		if !ok {
			break
		}
		total += size
	}
	stack[0] = result(m.Memory().WriteUint32Le(uint32(stack[3]), total))
}
