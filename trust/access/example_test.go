package access_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
	"github.com/lineshaft/lineshaft/trust/seal"
)

// Example is the whole of access control and encryption in one: Access = Grant(Role, Resource) and C = E(K, P). The
// metadata of a model is encrypted with a key. Alice, a developer, may decrypt it; others get a clear refusal.
func Example() {
	ctx := context.Background()
	gate := access.New(access.Options{Store: newMemory(), Clock: clock.NewFake(start), Hash: cheap})
	for name, role := range map[string]access.Role{"alice": access.Developer, "mallory": access.ServiceRole} {
		if _, err := gate.CreateUser(ctx, gate.Socket(), access.UserSpec{Name: name, Role: role, Password: password}); err != nil {
			fmt.Println(err)
		}
	}
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	keys, err := seal.OpenKeyring(filepath.Join(dir, "keys.json"), start)
	if err != nil {
		fmt.Println(err)
		return
	}
	sealed, err := keys.Seal([]byte(`{"model": "mnist", "layers": [512, 512, 10]}`), "model/mnist")
	if err != nil {
		fmt.Println(err)
		return
	}

	decrypt := func(who string) (string, error) {
		_, _, p, err := gate.SignIn(ctx, who, password)
		if err != nil {
			return "", err
		}
		if err := gate.Authorize(ctx, p, "read", access.Resource{Type: "model", Name: "mnist"}); err != nil {
			return "", err
		}
		plain, err := keys.Open(sealed, "model/mnist")
		return string(plain), err
	}
	for _, who := range []string{"alice", "mallory"} {
		if plain, err := decrypt(who); err != nil {
			fmt.Printf("%s: %v (%s)\n", who, err, errs.KindOf(err))
		} else {
			fmt.Printf("%s: %s\n", who, plain)
		}
	}
	// Output:
	// alice: {"model": "mnist", "layers": [512, 512, 10]}
	// mallory: access denied: mallory (service) may not read model mnist: that takes the role admin or developer or viewer; an admin can give a grant for it (denied)
}
