# The README's two commands are `make run` and `make test`. `make help` lists the rest.

GO        ?= go
NODE      ?= node
NPM       ?= npm
FUZZTIME  ?= 20s
BENCHTIME ?= 1s
CONFIG    ?= config.toml

GOLANGCI  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The race detector needs a C compiler; without one the tests run all the same and say so.
CC_FOUND  := $(shell command -v cc gcc clang 2>/dev/null | head -n 1)
RACE      := $(if $(CC_FOUND),-race,)

.PHONY: help run page test test-go test-canister test-e2e lint fuzz bench canister check build clean

help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/' | expand -t 18

run: page build ## build the demo page and start the relay on config.toml
	./bin/relay --config $(CONFIG)

build: ## build bin/relay, one static binary
	CGO_ENABLED=0 $(GO) build -o bin/relay ./cmd/relay

page: .npm-installed ## build the demo page
	$(NPM) run --silent build --workspace examples/motoko/guestbook/web

.npm-installed: package.json package-lock.json
	$(NPM) ci --no-audit --no-fund --loglevel=error
	@touch $@

test: test-go test-canister test-e2e ## everything: Go, canister, end to end

test-go: .npm-installed
	@$(if $(RACE),,echo "LEFT OUT: the race detector, because there is no C compiler";)
	$(GO) vet ./...
	$(GO) test $(RACE) ./...

test-canister: .npm-installed ## rebuild every committed Wasm byte for byte, and test the Motoko modules
	$(NODE) canister/build.mjs --check
	$(NODE) canister/test.mjs

test-e2e: page build ## stock JavaScript clients, in Node and in Chromium
	RELAY_BIN=$(CURDIR)/bin/relay $(NPM) test --silent --workspace e2e

canister: .npm-installed ## rebuild the committed Wasm and .did files from their Motoko sources
	$(NODE) canister/build.mjs

lint: ## gofmt and the pinned golangci-lint
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(GO) run $(GOLANGCI) run ./...

fuzz: ## every fuzz target for FUZZTIME each
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

bench: ## every Go benchmark
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

check: lint test ## what has to pass before a change lands

clean: ## remove what was built
	rm -rf bin .npm-installed node_modules examples/motoko/*/web/dist
