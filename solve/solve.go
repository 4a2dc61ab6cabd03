// Package solve solves linear and 0/1 programmes with HiGHS, and reads them from files: CPLEX's LP format, MPS, and a
// form in YAML that is short for small problems.
//
//	minimise or maximise  cᵀx   subject to   lower ≤ Ax ≤ upper,   x within its bounds,   some x whole
//
// The package is a leaf: it knows no jobs and no nodes, reads no clock and starts no goroutine that outlives a call. The
// scheduler declares the interface it needs of it and asks for bounds and plans; people reach it by `lineshaft solve`
// and POST /api/v1/solve.
//
//	e := solve.New(solve.Config{Cache: folder})
//	p, err := solve.Parse("", "plan.lp", text)
//	s, err := e.Solve(ctx, p, solve.Options{Nodes: 1000})
//
// The engine runs HiGHS's WebAssembly (package highs). Compiled it is fast, but compiling takes seconds to tens of
// seconds, once; until Compile has run somewhere, an interpreter serves, which is good enough for small problems. One
// problem gives one answer: HiGHS runs in one thread, with a fixed seed, and its clock stands still unless a limit of
// time is asked for.
package solve
