// Command lineshaft is Lineshaft: server, command line and, as the processes it starts itself, the shim and the trainer.
package main

import (
	"os"

	"github.com/lineshaft/lineshaft/app/cli"
	"github.com/lineshaft/lineshaft/app/trainer"
	"github.com/lineshaft/lineshaft/exec/local"
)

func main() {
	if code, handled := hidden(os.Args); handled {
		os.Exit(code)
	}
	os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// hidden runs this program as what a server starts it again for.
func hidden(args []string) (code int, handled bool) {
	if code, handled := local.Hidden(args); handled {
		return code, true
	}
	return trainer.Hidden(args)
}
