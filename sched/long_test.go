//go:build long

package sched_test

import "testing"

func TestCampaignOfManyHallHistories(t *testing.T) {
	for seed := uint64(1000); seed < 11_000; seed++ {
		runHall(t, seed, 60)
	}
}

func TestCampaignOfManyHistoriesWithMoves(t *testing.T) {
	for seed := uint64(1000); seed < 4000; seed++ {
		runMover(t, seed, 80)
	}
}
