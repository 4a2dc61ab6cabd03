// Package kserveproto is the messages of the Open Inference Protocol's gRPC service, on the wire as its clients send and
// read them.
//
// The Go files are made by generate.sh, which needs python3 with venv: it takes protoc from the pip package grpcio-tools.
//
//go:generate ./generate.sh
package kserveproto
