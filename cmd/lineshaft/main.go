// Command lineshaft is Lineshaft: server, command line and, as the processes it starts itself, the shim and the trainer.
package main

import (
	"os"

	"github.com/lineshaft/lineshaft/app/cli"
)

func main() { os.Exit(run()) }

func run() int { return cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr) }
