// Package turn lets long work that nobody waits for go behind requests that somebody waits for: a model is read and
// packed beside requests that are being answered, on the same processors.
//
// A goroutine that does not let go keeps its processor for 10 ms. runtime.Gosched lets go only for goroutines that can
// run already: as long as one goroutine calls it in a loop, the runtime finds something to run, and looks for requests
// that have arrived on the network every 10 ms alone. A goroutine that sleeps is not there to be found, however short its
// sleep is; the network is looked at, and what has arrived goes first.
package turn

import "time"

// Bytes is how much is copied or converted between two calls of Pass: about half a millisecond of work.
const Bytes = 1 << 20

// Pass lets others go first.
func Pass() { time.Sleep(time.Microsecond) }
