//go:build long

package sched_test

import (
	"context"
	"testing"

	"github.com/lineshaft/lineshaft/solve"
)

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

func TestCampaignOfManyHistoriesOfPlans(t *testing.T) {
	seen := map[string]int{}
	for seed := uint64(1000); seed < 11_000; seed++ {
		runHistory(t, seed, 16, seen)
	}
	t.Log(seen)
}

func TestCampaignOfContests(t *testing.T) {
	s := solve.New(solve.Config{Cache: t.TempDir()})
	defer s.Close()
	if err := s.Compile(context.Background()); err != nil {
		t.Fatal(err)
	}
	packed, best := 0.0, 0.0
	for seed := uint64(100); seed < 1100; seed++ {
		p, b := checkContest(t, s, seed)
		packed, best = packed+p, best+b
	}
	t.Logf("packing reaches %v of %v", packed, best)
	if packed < 0.99*best {
		t.Fatalf("packing reaches %v of %v", packed, best)
	}
}
