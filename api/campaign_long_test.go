//go:build long

package api_test

import (
	"fmt"
	"testing"
)

func TestACampaignOfCalls(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { askAtRandom(t, seed, 10_000) })
	}
}
