package app

import (
	"os"
	"path/filepath"
)

// SolverCache is where compiled solvers are kept: in the user's cache folder, never in the data folder. It is empty when
// there is none, and then nothing is kept.
func SolverCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "lineshaft")
}
