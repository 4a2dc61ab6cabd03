package job

// Cause is why a job changes its state.
type Cause string

// The causes.
const (
	Place    Cause = "place"    // the scheduler found room for the gang
	Up       Cause = "up"       // its tasks run
	End      Cause = "end"      // it is to end or to be tried again: Job.Next says which
	Drop     Cause = "drop"     // canceled
	Requeue  Cause = "requeue"  // every task has ended: try again
	Complete Cause = "complete" // every task has ended well and the result is registered
	Fail     Cause = "fail"     // every task has ended and no retry is left
	Retry    Cause = "retry"    // a person asks for another run
)

// Transition is one row of the table: in From, the cause On leads to To.
type Transition struct {
	From State
	On   Cause
	To   State
}

// Transitions is every change of state a job can make. A job that was started always ends through Stopping, so that
// no successor starts, and no end is told, before the last task is known to be dead.
var Transitions = [...]Transition{
	{Queued, Place, Starting},
	{Queued, Drop, Canceled},
	{Starting, Up, Running},
	{Starting, End, Stopping},
	{Running, End, Stopping},
	{Stopping, Requeue, Queued},
	{Stopping, Complete, Succeeded},
	{Stopping, Fail, Failed},
	{Stopping, Drop, Canceled},
	{Failed, Retry, Queued},
	{Canceled, Retry, Queued},
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

// Terminal reports whether only a person's retry leads on from here.
func (s State) Terminal() bool { return s == Succeeded || s == Failed || s == Canceled }

// Live reports whether a task in this state may have a process, and so holds its resources.
func (s State) Live() bool { return s == Starting || s == Running || s == Stopping }
