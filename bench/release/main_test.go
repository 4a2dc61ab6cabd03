package main

import "testing"

func TestCanariesAreSeldomJudgedWrongly(t *testing.T) {
	const runs = 30 // of each kind; the command's are more
	rolledBack, promoted, same, worse := 0.0, 0.0, 0.0, 0.0
	for _, s := range scenarios {
		if s.name == "the same, 10 % errors" { // is held, at length
			continue
		}
		s.rps = 20
		got := run(s, runs, 9)
		switch s.truth {
		case "same":
			rolledBack, same = rolledBack+got.rolledBack, same+1
		case "worse":
			promoted, worse = promoted+got.promoted, worse+1
		}
	}
	if rolledBack/same > 0.05 || promoted/worse > 0.05 {
		t.Errorf("%.3f of those that are no worse were rolled back, %.3f of those that are worse promoted", rolledBack/same, promoted/worse)
	}
}
