package access_test

import (
	"fmt"
	"testing"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/trust/access"
)

// BenchmarkADecision is what Authorize costs with so many grants, for what a grant allows, what the table allows, and
// what is refused (which also asks whether the thing may be known of).
func BenchmarkADecision(b *testing.B) {
	for _, grants := range []int{0, 100, 10_000} {
		store := newMemory()
		store.put(access.UserKind, "bob", access.Account{User: access.User{Name: "bob", Role: access.Developer}})
		for i := range grants {
			g := access.Grant{ID: fmt.Sprint("gr_", i), User: "bob", Actions: []string{"export"}, Type: "model", Name: fmt.Sprint("m", i)}
			if i%3 == 0 {
				g.User, g.Role = "", access.Viewer
			}
			store.put(access.GrantKind, g.ID, g)
		}
		s := access.New(access.Options{Store: store, Clock: clock.NewFake(start), Hash: cheap})
		bob := access.Principal{Name: "bob", Role: access.Developer, Via: "password"}
		for name, c := range map[string]struct {
			action string
			r      access.Resource
			ok     bool
		}{
			"by grant": {"export", access.Resource{Type: "model", Name: "m1"}, grants > 0},
			"by table": {"predict", access.Resource{Type: "model", Name: "m2"}, true},
			"refused":  {"export", access.Resource{Type: "model", Name: "other"}, false},
		} {
			b.Run(fmt.Sprintf("%s/grants=%d", name, grants), func(b *testing.B) {
				for b.Loop() {
					if err := s.Authorize(b.Context(), bob, c.action, c.r); (err == nil) != c.ok {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
