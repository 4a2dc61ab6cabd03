package sock_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/sock"
)

func TestTheOwnerReachesTheServerThroughAnyPathAndNobodyElseDoes(t *testing.T) {
	for _, name := range []string{"short", strings.Repeat("long-", 40)} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := sock.Dial(t.Context(), dir); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "lineshaft up") {
			t.Errorf("without a server: %v", err)
		}
		for range 2 { // the second finds the socket of a server that died
			l, err := sock.Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			if st, err := os.Stat(filepath.Join(dir, sock.Name)); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", st.Mode(), err)
			}
			go func() {
				if c, err := l.Accept(); err == nil {
					io.WriteString(c, "hello")
					c.Close()
				}
			}()
			c, err := sock.Dial(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
				t.Errorf("heard %q, %v", b, err)
			}
			c.Close()
			l.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
			l.Close()
		}
	}
}
