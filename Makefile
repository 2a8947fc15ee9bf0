# adit's commands for developers. `make help` lists them; README names the two
# that a newcomer needs.

SHELL := /bin/bash
GO ?= go
FUZZTIME ?= 30s
TEST ?= ./...
ARGS ?=

# The race detector needs a C compiler; without one the tests run all the same.
RACE = $(shell test "$$($(GO) env CGO_ENABLED)" = 1 && echo -race)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

.PHONY: deps
deps: ## install the peers that tests talk to (Debian, as root), else name what is missing
	@scripts/deps.sh

.PHONY: build
build: ## build bin/adit
	$(GO) build -o bin/adit ./cmd/adit

.PHONY: check
check: deps lint cross test ## all a change must pass: lint, cross builds, tests with the real peers

.PHONY: full
full: check tidy oracle helpers wine fuzz bench ## check, then module tidiness, long comparisons, Windows, every fuzz target and the benchmarks

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt'ed:" $$unformatted; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

.PHONY: cross
cross: ## build for Linux, macOS and Windows, without cgo
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build ./...
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build ./...
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) build ./...

.PHONY: test
test: ## run the tests alone; TEST=./internal/mux narrows, ARGS='-run Name -v' go through
	$(GO) test $(RACE) -shuffle=on -timeout 15m $(ARGS) $(TEST)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (30s) each; TEST narrows
	@GO='$(GO)' scripts/fuzz.sh $(FUZZTIME) $(TEST)

.PHONY: oracle
oracle: ## thousands of random ssh_config files, compared with ssh -G; ADIT_SSH names another ssh
	ADIT_ORACLE=4000 $(GO) test -count=1 -timeout 15m -run 'Oracle|AsSSH' ./sshconfig ./cmd/adit

.PHONY: helpers
helpers: ## a thousand runs of proxy commands and ten thousand of a forwarded agent, which must leave nothing
	ADIT_RUNS=1000 $(GO) test -count=1 -timeout 15m -run 'LeaveNothing|ManyTimes' ./dial ./cmd/adit
	ADIT_RUNS=10000 $(GO) test -count=1 -timeout 15m -run 'AgentManyTimes' ./internal/interop

.PHONY: wine
wine: ## adit for Windows under wine: tests on its named pipes and files, and adit.exe with an sshd
	@GO='$(GO)' scripts/wine.sh

.PHONY: bench
bench: ## adit beside stock OpenSSH on the same work; prints ratios
	$(GO) run ./bench $(ARGS)
	$(GO) test -run '^$$' -bench '^BenchmarkTrace$$' -benchtime 300x -count 3 ./internal/transport # what tracing costs

.PHONY: cover
cover: ## coverage of the tests, by function
	@mkdir -p bin
	$(GO) test -coverprofile=bin/cover.out $(TEST) && $(GO) tool cover -func=bin/cover.out

.PHONY: fmt
fmt: ## gofmt all files
	gofmt -w .

.PHONY: tidy
tidy: ## fail if go.mod or go.sum would change (asks the module proxy)
	$(GO) mod tidy -diff

.PHONY: vuln
vuln: ## known vulnerabilities in what we call (asks vuln.go.dev)
	@GO='$(GO)' scripts/vuln.sh
