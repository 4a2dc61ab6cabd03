//go:build linux

package local_test

import (
	"os"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Whether quotas are there depends on the file system: what holds either way is that the feature tells which it is, and
// that nothing is left of finding out.
func TestTheFeatureSaysWhetherQuotasBoundTheDisk(t *testing.T) {
	t.Parallel()
	l, data := hall(t, "")
	why := local.Quotas(data)
	tk := task("1", 1, "true")
	tk.Limits.Disk, tk.Limits.Storage = 20*units.MiB, 10*units.MiB
	_, st := run(t, l, tk)
	for _, f := range st.Isolation {
		if f.Name != "disk-limit" && f.Name != "storage-limit" {
			continue
		}
		if told := strings.Contains(f.Detail, "by project quota"); !f.Enforced || told != (why == nil) {
			t.Errorf("%+v, and quotas: %v", f, why)
		}
	}
	if !enforced(st, "disk-limit") || !enforced(st, "storage-limit") {
		t.Errorf("%+v", st.Isolation)
	}
	entries, err := os.ReadDir(data)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".quota-") {
			t.Errorf("%s is left", e.Name())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTooMuchInTheOutFolderEndsATask(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, `head -c 9000000 /dev/zero > scratch; i=0; while [ $i -lt 200 ]; do head -c 3000000 /dev/zero > $LINESHAFT_OUT/f$i || exit 1; i=$((i+1)); sleep 0.05; done`)
		tk.Limits.Disk, tk.Limits.Storage = 100*units.MiB, 10*units.MiB
		if out, st := run(t, l, tk); st.Reason != "storage" && st.ExitCode != 1 {
			t.Errorf("%+v %s", st, out)
		}
	})
}
