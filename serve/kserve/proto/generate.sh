#!/bin/sh
# Makes the Go files of the .proto files of this folder: go generate ./serve/kserve/proto
set -eu
cd "$(dirname "$0")/../../.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools/venv"
"$tools/venv/bin/pip" install --quiet grpcio-tools==1.85.1
GOBIN="$tools" go install google.golang.org/protobuf/cmd/protoc-gen-go
PATH="$tools:$PATH" "$tools/venv/bin/python" -m grpc_tools.protoc -I. \
	--go_out=. --go_opt=module=github.com/lineshaft/lineshaft serve/kserve/proto/*.proto
