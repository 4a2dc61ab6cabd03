package sched

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/lineshaft/lineshaft/internal/units"
)

// number prints cores and counts without the noise of sums of fractions.
func number(v float64) string {
	return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64)
}

func bytes(v float64) string { return units.Bytes(max(v, 0)).String() }

func nodes(n int) string {
	if n == 1 {
		return "1 node is"
	}
	return fmt.Sprintf("%d nodes are", n)
}

// minute is a time that is foreseen, not finer than it is known: the same for the plans of a minute, so that who writes
// down why a gang waits does so when that has changed.
func minute(t time.Time) string {
	return t.Add(time.Minute - 1).UTC().Truncate(time.Minute).Format(time.RFC3339)
}
