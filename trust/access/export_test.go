package access

// Hashes is how many password hashes were made.
func (s *Service) Hashes() int64 { return s.hasher.runs.Load() }

// HoldHashing takes every slot for hashing, and gives them back when it is told to.
func (s *Service) HoldHashing() (release func()) {
	for range hashSlots {
		s.hasher.slots <- struct{}{}
	}
	return func() {
		for range hashSlots {
			s.hasher.leave()
		}
	}
}

// Waiting is how many sign-ins wait for a slot.
func (s *Service) Waiting() int { return int(s.hasher.queue.Load()) }

// Bounds, for tests.
const (
	HashQueue   = hashQueue
	FreeGuesses = freeGuesses
	MaxRefusals = maxRefusals
	MaxGuesses  = maxGuesses
)

// Guessed is how many names are remembered for failed sign-ins.
func (s *Service) Guessed() int {
	s.guesses.mu.Lock()
	defer s.guesses.mu.Unlock()
	return len(s.guesses.by)
}
