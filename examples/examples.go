// Package examples holds the specifications that the demonstration submits and the documentation shows.
package examples

import _ "embed"

// MNIST trains the article's network on the handwritten digits.
//
//go:embed mnist/train.yaml
var MNIST []byte
