//go:build long

package job_test

import "testing"

func TestCampaignOfManyHistoriesKeepsWhatMustAlwaysHold(t *testing.T) {
	for seed := uint64(1000); seed < 2000; seed++ {
		runHistory(t, seed, 400)
	}
}

func TestLongNoHistoryExceedsACapOrEntersAnothersReservation(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(500) {
		runSite(t, 1000+seed, seen)
	}
	t.Log(seen)
}
