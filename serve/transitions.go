package serve

// State is where a version is in its life: TensorFlow Serving's states.
type State string

// The states.
const (
	Start     State = "START"     // wanted
	Loading   State = "LOADING"   // being read into memory
	Available State = "AVAILABLE" // answers
	Unloading State = "UNLOADING" // no new requests; those in flight end
	End       State = "END"       // freed, or failed to load
)

// Cause is why a version changes its state.
type Cause string

// The causes.
const (
	Begin  Cause = "begin"  // its turn to load has come
	Loaded Cause = "loaded" // it is in memory
	Fail   Cause = "fail"   // it cannot be loaded
	Drop   Cause = "drop"   // it is wanted no longer
	Free   Cause = "free"   // its last request has ended
)

// Transition is one row of the table: in From, the cause On leads to To.
type Transition struct {
	From State
	On   Cause
	To   State
}

// Transitions is every change of state a version can make. A version that answered always ends through UNLOADING, so
// that nothing is freed under a request. A version that ended and is wanted again begins a new life.
var Transitions = [...]Transition{
	{Start, Begin, Loading},
	{Start, Fail, End},
	{Loading, Loaded, Available},
	{Loading, Fail, End},
	{Available, Drop, Unloading},
	{Unloading, Free, End},
}

// After is the state that the cause leads to; false when the table has no such row.
func (s State) After(on Cause) (State, bool) {
	for _, t := range Transitions {
		if t.From == s && t.On == on {
			return t.To, true
		}
	}
	return s, false
}
