# Hearth. The first command on a bare Debian 12 with Go may be any of these:
#   make demo    builds, deploys the examples to a throw-away server, runs each
#   make test    everything that CI runs
#   make build   bin/hearth
#   make bench   the benchmarks, 20 minutes; writes bench/RESULTS.md. ROWS=warm,cold BENCHFLAGS=-short
#   make crash   kills the server again and again while it takes and runs events
#   make sim     keep-alive policies, simulated; writes docs/keep-alive

SHELL := /bin/bash
GO ?= go
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
export CGO_ENABLED ?= 0

.PHONY: sim build demo test test-go test-demo lint cross fuzz long bench crash examples deps-demo deps-test deps-bench bench-peers clean help

help:
	@sed -n 's/^#   //p' Makefile

build: bin/hearth

bin/hearth: $(shell find . -name '*.go' -not -path './examples/*' -not -name '*_test.go' 2>/dev/null) go.mod go.sum $(shell find runtimes sandbox api -type f -not -name '*.go' -not -path '*/testdata/*' 2>/dev/null)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/hearth

examples: examples/thumbnail/node_modules/.package-lock.json examples/markdown/build/bootstrap

examples/thumbnail/node_modules/.package-lock.json: examples/thumbnail/package.json examples/thumbnail/package-lock.json
	cd examples/thumbnail && npm ci --fetch-retries=5 --silent --no-audit --no-fund --ignore-scripts
	@touch $@

examples/markdown/build/bootstrap: examples/markdown/main.go examples/markdown/go.mod
	cd examples/markdown && $(GO) build -trimpath -ldflags '-s -w' -o build/bootstrap .

deps-demo:
	@.ci/deps demo

# A peer that cannot be installed is missing in the results, which say so.
PEERS := workerd functions-framework serverless-offline
bench-peers:
	@for peer in $(PEERS); do \
	  [ bench/peers/$$peer/node_modules/.package-lock.json -nt bench/peers/$$peer/package-lock.json ] && continue; \
	  echo "installing $$peer for the benchmark"; \
	  (cd bench/peers/$$peer && npm ci --silent --no-audit --no-fund --ignore-scripts && touch node_modules/.package-lock.json) || echo "$$peer is not installed" >&2; \
	done

deps-bench:
	@.ci/deps bench

deps-test:
	@.ci/deps test

demo: deps-demo bin/hearth
	@$(MAKE) --no-print-directory examples
	@examples/demo bin/hearth

test: deps-test lint cross
	@$(MAKE) --no-print-directory bin/hearth examples
	$(MAKE) --no-print-directory test-go
	examples/demo bin/hearth

# The race detector needs cgo. The longest packages begin first, or one of them would
# run alone at the end. Packages that load the machine run one after the other, so
# that a bound on time measures the code and not its neighbour.
LONGEST := ./test/e2e ./runtimes ./sandbox/process ./cmd/hearth ./engine/nats
test-go:
	CGO_ENABLED=1 HEARTH_BIN=$(CURDIR)/bin/hearth $(GO) test -race -p 2 -timeout 25m $(LONGEST) $$($(GO) list ./... | grep -v -e /test/hostile$$ -e /test/scale$$)
	CGO_ENABLED=1 HEARTH_BIN=$(CURDIR)/bin/hearth $(GO) test -race -p 1 -timeout 15m ./test/hostile ./test/scale

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not formatted: $$out"; exit 1; }
	$(GO) vet ./...

# Everything but the sandbox builds for other systems too.
cross:
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/hearth
	GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null ./cmd/hearth

# Every fuzz target for a while each: FUZZTIME=5m make fuzz
FUZZTIME ?= 20s
fuzz:
	@for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
	    echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
	  done; \
	done

# The long forms of the leak test, the simulations and the crash tests.
long: deps-test bin/hearth examples
	CGO_ENABLED=1 HEARTH_LONG=1 HEARTH_BIN=$(CURDIR)/bin/hearth $(GO) test -race -p 1 -timeout 3h ./...

# The long form of the crash test of asynchronous invocations: some minutes.
crash: deps-test
	CGO_ENABLED=1 HEARTH_LONG=1 $(GO) test -race -v -timeout 1h ./test/crash

# ROWS picks rows, comma-separated; the results of the others stay what they were.
ROWS ?=
BENCHFLAGS ?=
bench: deps-bench bin/hearth bench-peers
	$(GO) run ./bench/cmd/bench -hearth bin/hearth -out bench -rows '$(ROWS)' $(BENCHFLAGS)

# Half an hour on two cores; SIMTIME bounds it, and another run goes on where one
# stopped. To begin anew, remove docs/keep-alive/results.json.
SIMTIME ?= 24h
sim:
	$(GO) run ./test/keepalive/cmd -out docs/keep-alive -budget $(SIMTIME)

clean:
	rm -rf bin dist examples/thumbnail/node_modules examples/markdown/build bench/peers/*/node_modules
