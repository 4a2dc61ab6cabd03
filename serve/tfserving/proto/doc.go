// Package tfproto is the messages of TensorFlow Serving's gRPC protocol, on the wire as its clients send and read them.
// The .proto files here are written from the documented contract; names and field numbers are TensorFlow's.
//
// The Go files are made by generate.sh, which needs python3 with venv: it takes protoc from the pip package grpcio-tools.
//
//go:generate ./generate.sh
package tfproto
