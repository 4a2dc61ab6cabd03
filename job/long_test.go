//go:build long

package job_test

import "testing"

func TestCampaignOfManyHistoriesKeepsWhatMustAlwaysHold(t *testing.T) {
	for seed := uint64(1000); seed < 2000; seed++ {
		runHistory(t, seed, 400)
	}
}
