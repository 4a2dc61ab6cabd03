//go:build long

package batch

import "testing"

func TestCampaignOfHistoriesOfQueuesLosesMixesOrAnswersTwiceNothing(t *testing.T) {
	seen := map[string]int{}
	for seed := uint64(1000); seed < 9000; seed++ {
		h := playRandom(t, seed, 1000)
		for _, r := range h.all {
			seen[r.outcome]++
		}
		if h.failed {
			return
		}
	}
	t.Log(seen)
}

func TestLongOverloadsOfManyKindsWasteNothing(t *testing.T) {
	for seed := range uint64(6) {
		for _, times := range []float64{0.5, 0.9, 1, 1.1, 1.5, 3, 10, 30} {
			good, m := overload(t, seed, times, float64(seed%3)/4)
			if want := min(0.95*times, 0.9); good < want || float64(m.late) > 0.02*float64(m.good) {
				t.Errorf("seed %d, %v times the capacity: %.3f of it in time, %d rows late", seed, times, good, m.late)
			}
		}
	}
}
