// Package highs runs HiGHS, a solver of linear and whole-number programmes by the University of Edinburgh (MIT), from
// the WebAssembly of the npm package "highs", on wazero: no C compiler, no shared library.
//
// The wasm is not in the repository: `make build` takes it from the package that package-lock.json pins and it is
// embedded. A binary that was built without it still works and has no solver: Built says so.
//
// The wasm exports HiGHS's C interface under short names that change with every build of the package; names.go holds
// them together with the wasm's SHA-256, and Load refuses any other wasm. It cannot catch C++ exceptions: one ends the
// instance. So an Instance serves one solve. What it imports from its host is a clock (which the caller gives; time
// stands still without), growing memory, and files and a terminal, of which it gets none.
//
//	m, err := highs.Load(ctx, highs.Config{})
//	h, err := m.New(ctx, nil)
//	defer h.Close()
//	err = h.Pass(&problem)
//	err = h.Run()
package highs

import (
	"crypto/sha256"
	"embed"
	"fmt"

	"github.com/lineshaft/lineshaft/internal/errs"
)

//go:generate go run ./names node_modules/highs names.go

// build has highs.wasm when `make` put it there.
//
//go:embed all:build
var build embed.FS

// Built says whether the binary carries HiGHS.
func Built() bool {
	f, err := build.Open("build/highs.wasm")
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func wasm() ([]byte, error) {
	const op = "highs.wasm"
	b, err := build.ReadFile("build/highs.wasm")
	if err != nil {
		return nil, errs.Errorf(op, errs.Unsupported, "this binary was built without the solver HiGHS; `make build` in Lineshaft's folder fetches it (npm is needed) and builds one that has it")
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != sum {
		return nil, errs.Errorf(op, errs.Corrupt, "the solver in this binary is not HiGHS %s as it was tested (SHA-256 %s instead of %s); run `make clean build`", Version, got, sum)
	}
	return b, nil
}
