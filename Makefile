# The README's two commands are `make run` and `make test`. `make help` lists the rest.

GO        ?= go
NODE      ?= node
NPM       ?= npm
FUZZTIME  ?= 20s
BENCHTIME ?= 1s
CONFIG    ?= config.toml
BUILD     ?= build

SOAK_MESSAGES ?= 20000
SOAK_MINUTES  ?= 30
ORDER_MESSAGES ?= 10000

NPM_ALL   := node_modules/.installed-all
NPM_PAGE  := node_modules/.installed-page
NPM_QUIET := --no-audit --no-fund --loglevel=error

# The pages of the examples, each an npm workspace.
PAGES     := $(patsubst %/package.json,--workspace %,$(wildcard examples/motoko/*/web/package.json))

PROTOC_GEN_GO      := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
PROTOC_GEN_GO_GRPC := google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
GOLANGCI  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The race detector needs a C compiler; without one the tests run all the same and say so.
CC_FOUND  := $(shell command -v cc gcc clang 2>/dev/null | head -n 1)
RACE      := $(if $(CC_FOUND),-race,)

.PHONY: help run page plugins proto test test-go test-canister test-e2e test-cdk lint fuzz bench bench-compare bench-go soak cost canister check build build-wasm64 clean

help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/' | expand -t 18

run: page $(BUILD) $(if $(findstring examples/plugins,$(CONFIG)),plugins) ## build the examples' pages and start the relay on config.toml, or on CONFIG=another; BUILD=build-wasm64 for 64-bit canisters
	./bin/relay --config $(CONFIG)

build: ## build bin/relay, one static binary
	CGO_ENABLED=0 $(GO) build -o bin/relay ./cmd/relay

build-wasm64: ## build bin/relay with the engine for 64-bit canisters (needs a C compiler)
	CGO_ENABLED=1 $(GO) build -tags wasm64 -o bin/relay ./cmd/relay

plugins: ## build the example plugins that are Go programs, into bin/
	CGO_ENABLED=0 $(GO) build -o bin/ ./examples/plugins/...

# protoc and grpc_python_plugin: Debian's protobuf-compiler and protobuf-compiler-grpc.
proto: ## regenerate the Go and Python code of the adapters' contract from adapter.proto (needs protoc)
	GOBIN=$(CURDIR)/bin $(GO) install $(PROTOC_GEN_GO)
	GOBIN=$(CURDIR)/bin $(GO) install $(PROTOC_GEN_GO_GRPC)
	protoc -I adapters/plugin/contract \
	  --plugin=bin/protoc-gen-go --go_out=adapters/plugin/contract --go_opt=paths=source_relative \
	  --plugin=bin/protoc-gen-go-grpc --go-grpc_out=adapters/plugin/contract --go-grpc_opt=paths=source_relative \
	  --plugin=protoc-gen-grpc_python="$$(command -v grpc_python_plugin)" \
	  --python_out=examples/plugins/gate --grpc_python_out=examples/plugins/gate adapter.proto

page: $(NPM_PAGE) ## build the pages of the examples
	$(NPM) run --silent build $(PAGES)

# npm ci empties node_modules, and with it these marks.
$(NPM_ALL): package.json package-lock.json
	$(NPM) ci $(NPM_QUIET)
	@touch $(NPM_ALL) $(NPM_PAGE)

# The pages alone need a fraction of what the tests need.
$(NPM_PAGE): package.json package-lock.json
	$(NPM) ci $(NPM_QUIET) $(PAGES)
	@touch $(NPM_PAGE)

test: test-go test-canister test-e2e ## everything: Go, canister, end to end

# Those that need the machine for themselves run one after the other: load, faults, everything at once.
ALONE := /e2e/|/internal/bench$$

# Under the race detector the soak is a small one, so it runs again without.
test-go: $(NPM_ALL)
	@$(if $(RACE),,echo "LEFT OUT: the race detector and 64-bit canisters, because there is no C compiler";)
	@test -x node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp || echo "LEFT OUT: the icp tool, which npm has for Linux on x64 only"
	@command -v haproxy >/dev/null || echo "LEFT OUT: three gateways behind HAProxy, which is not installed (apt-get install haproxy)"
	$(GO) vet ./...
	$(GO) test $(RACE) $$($(GO) list ./... | grep -vE '$(ALONE)')
	$(GO) test $(RACE) -p 1 $$($(GO) list ./... | grep -E '$(ALONE)')
	$(if $(RACE),$(GO) test -run '^TestSoak$$' ./e2e/soak)
	$(if $(RACE),$(GO) test -tags wasm64 ./localnet/... ./canister/...)

test-canister: $(NPM_ALL) ## rebuild every committed Wasm byte for byte, and test the Motoko modules
	$(NODE) canister/build.mjs --check
	$(NODE) canister/test.mjs

test-e2e: $(NPM_ALL) page build plugins ## stock JavaScript clients, in Node and in Chromium
	RELAY_BIN=$(CURDIR)/bin/relay RELAY_PLUGINS=$(CURDIR)/bin $(NPM) test --silent --workspace e2e

# The packages whose tests install EchoFile.
CDK_TESTS := ./adapters/... ./internal/app ./e2e/faults
RUST_ECHO := e2e/canisters/rust/target/wasm32-unknown-unknown/release/echo.wasm

test-cdk: export ECHO_WASM := $(CURDIR)/$(RUST_ECHO)
test-cdk: $(NPM_ALL) build ## the tests of canisters with the CDK again, with the official Rust CDK (needs cargo, and rustup target add wasm32-unknown-unknown)
	cd e2e/canisters/rust && cargo build --locked --release --target wasm32-unknown-unknown
	$(GO) test -count 1 -p 1 $(CDK_TESTS)
	RELAY_BIN=$(CURDIR)/bin/relay $(NODE) --test --test-reporter=spec e2e/cdk.test.mjs e2e/order.test.mjs

canister: $(NPM_ALL) ## rebuild the committed Wasm and .did files from their Motoko sources
	$(NODE) canister/build.mjs
	$(NODE) localnet/execution/testdata/build.cjs

lint: ## gofmt and the pinned golangci-lint
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(GO) run $(GOLANGCI) run ./...
	$(if $(CC_FOUND),$(GO) run $(GOLANGCI) run --build-tags wasm64 ./localnet/... ./canister/...)

fuzz: ## every fuzz target for FUZZTIME each; goes on after a finding
	@failed=; for pkg in $$($(GO) list ./...); do \
	  targets=$$($(GO) test -list '^Fuzz' $$pkg) || { failed="$$failed $$pkg"; continue; }; \
	  for target in $$(echo "$$targets" | grep '^Fuzz'); do \
	    echo "== $$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 2s $$pkg || failed="$$failed $$pkg:$$target"; \
	  done; \
	done; \
	if [ -n "$$failed" ]; then echo "these have failed:"; printf '  %s\n' $$failed; exit 1; fi

bench: build ## what the relay carries, beside what this machine could do without it (see docs/capacity.md)
	$(GO) build -o bin/bench ./e2e/bench
	./bin/bench

bench-compare: build ## this relay beside another gateway: GATEWAY='program arguments' with {address} and {network} in them
	$(GO) build -o bin/bench ./e2e/bench
	./bin/bench compare $(GATEWAY)

bench-go: ## every Go benchmark
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

cost: ## measure what each message costs the relay canister, for docs/cost.md (needs a C compiler)
	$(GO) test -tags wasm64 -count 1 -run TestCost -v ./canister

soak: $(NPM_ALL) build ## everything at once, and everything goes wrong: rounds of SOAK_MESSAGES until SOAK_MINUTES have passed
	SOAK_MESSAGES=$(SOAK_MESSAGES) SOAK_MINUTES=$(SOAK_MINUTES) $(GO) test -count 1 -timeout 0 -v -run '^TestSoak$$' ./e2e/soak
	FAULTS_OUTAGE=60 FAULTS_KILLS=20 $(GO) test -count 1 -timeout 0 -v -run '^(TestOutage|TestKill)$$' ./e2e/faults
	ORDER_MESSAGES=$(ORDER_MESSAGES) RELAY_BIN=$(CURDIR)/bin/relay $(NODE) --test --test-reporter=spec e2e/order.test.mjs

check: lint test ## what has to pass before a change lands

clean: ## remove what was built
	rm -rf bin node_modules examples/motoko/*/web/dist
