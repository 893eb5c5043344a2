# Envoys to test against: the oldest that is supported first, the newest last.
# Each has its checksums in tools/envoy-VERSION.txt. ENVOY=/path/to/envoy uses
# that one alone.
ENVOYS    := 1.36.2 1.40.0
TESTFLAGS ?=
BENCHFLAGS ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/xds-server
	go build -trimpath -o bin/ ./cmd/xds-server

.PHONY: filters
filters: ## the Go filters, compiled to Wasm, into bin/filters/
	$(MAKE) -C filter OUT=$(CURDIR)/bin/filters

.PHONY: rust-filters
rust-filters: ## the Rust filters into bin/filters/ (needs Rust and its WASI target)
	examples/rust/build.sh bin/filters

.PHONY: image
image: OUT ?= bin/image
image: ## what Dockerfile's images contain, into OUT
	CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags='-s -w' -o $(OUT)/xds-server/ ./cmd/xds-server
	CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags='-s -w' -o $(OUT)/upstream/ ./examples/upstream
	$(MAKE) -C filter OUT=$(abspath $(OUT))/xds-server/filters
	mkdir -p $(OUT)/xds-server/definitions $(OUT)/data

.PHONY: demo
demo: build filters tools ## see a filter change on real Envoys, and a bad one stopped; half a minute
	go run ./examples/demo

.PHONY: test test-server test-filters test-manifests
test: test-server test-filters test-manifests ## all tests, those with real Envoys included

test-server: tools kube-apiserver kubectl helm filters
	go test -timeout 45m $(TESTFLAGS) ./...

test-filters: filters
	$(MAKE) -C filter test

test-manifests: kubectl helm
	cd examples/kubernetes/validate && go test -count=1 ./...

.PHONY: rust-test
rust-test: tools ## the Rust filters and scaffold, on real Envoys (installs the WASI target)
	@tools/rust.sh
	$(MAKE) rust-filters
	go test -count=1 -timeout 20m -tags rust -run Rust $(TESTFLAGS) ./e2e ./scaffold ./cmd/xds-server

.PHONY: compose-test
compose-test: tools ## docker-compose.yaml on a container engine (installs one, as root on Debian)
	@tools/docker.sh
	go test -count=1 -timeout 15m -tags compose -run Compose $(TESTFLAGS) ./examples/compose

.PHONY: browser-test
browser-test: ## the page, in Chromium (installs it, as root on Debian; CHROMIUM=/path uses that one)
	@tools/chromium.sh
	@tools/axe.sh
	go test -count=1 -timeout 5m -tags browser $(TESTFLAGS) ./admin

.PHONY: race
race: tools kube-apiserver kubectl helm filters ## all tests with the race detector (needs a C compiler)
	go test -race -timeout 60m $(TESTFLAGS) ./...

.PHONY: e2e
e2e: tools kube-apiserver ## only the tests with real Envoys
	go test -count=1 -timeout 45m $(TESTFLAGS) ./e2e/...

H2_SCENES = ^Test(RefusedAndFresh|RefusedResources|Swaps|ServerKilled|ServerAway|EnvoyKilled|ConnectionCut|TLS|NoTLS|PolicyChanges|CrashIsTold)$$

.PHONY: e2e-h2
e2e-h2: tools ## the scenes that depend on the transport, with --transport h2 (CONTRIBUTING.md says which)
	go test -count=1 -timeout 20m -run '$(H2_SCENES)' ./e2e -transport h2 $(TESTFLAGS)

.PHONY: swap-report
swap-report: tools ## every scene at full counts, beside a plain server, into docs/swap.md
	go test -count=1 -timeout 90m ./e2e -swaps 50 -report $(CURDIR)/docs/swap.md

.PHONY: rollout-report
rollout-report: ## good and bad changes in waves through a thousand played Envoys, into docs/rollouts.md
	go test -count=1 -timeout 90m -parallel 16 ./bench/rollouts -good 1000 -bad 100 -latency 30 -live 20 -report $(CURDIR)/docs/rollouts.md

.PHONY: soak
soak: SOAK ?= 10m
soak: tools ## changes and faults at random, on real and played Envoys (SOAK=1h)
	go run ./e2e/soak -duration $(SOAK)

.PHONY: bench
bench: tools kube-apiserver ## compare with other servers, up to 10,000 played Envoys (BENCHFLAGS=-clients 100); three replicas; 1,000 objects
	go run ./bench $(BENCHFLAGS)
	go test -count=1 -timeout 30m -v ./bench/scale -full

.PHONY: bench-filter
bench-filter: tools filters ## what filters cost in Envoy: none, Rust, Go, Lua (installs the WASI target)
	@tools/rust.sh
	$(MAKE) rust-filters
	go run ./bench/filter $(BENCHFLAGS)

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt'd: $$unformatted"; exit 1; }
	go vet -tags rust,compose,browser ./...
	go tool staticcheck -tags rust,compose,browser ./...
	$(MAKE) -C filter lint

.PHONY: tools
tools: etcd ## Envoy and etcd into .tools/ (ENVOY=/path, ETCD=/path use those instead)
	@tools/envoy.sh $(ENVOYS)

.PHONY: etcd
etcd: ## only etcd
	@tools/program.sh etcd etcd go.etcd.io/etcd/server/v3

.PHONY: kube-apiserver
kube-apiserver: etcd ## a Kubernetes API server into .tools/; six minutes (KUBE_APISERVER=/path uses that one)
	@tools/program.sh kube kube-apiserver k8s.io/kubernetes cmd/kube-apiserver

.PHONY: kubectl
kubectl: ## kubectl, of the same sources, into .tools/ (KUBECTL=/path uses that one)
	@tools/program.sh kube kubectl k8s.io/kubernetes cmd/kubectl

.PHONY: helm
helm: ## Helm into .tools/ (HELM=/path uses that one)
	@tools/program.sh helm helm helm.sh/helm/v4 cmd/helm

.PHONY: dist
dist: ## archives for four platforms, SBOMs and checksums, into dist/
	go run ./tools/dist -out dist

.PHONY: committed
committed:
	@test -z "$$(git status --porcelain)" || { echo "there are changes that no commit has"; exit 1; }

.PHONY: dist-check
dist-check: committed dist ## the same commit again, in another place and without a cache: the same bytes?
	@clone=$$(mktemp -d) && trap 'chmod -R u+w $$clone; rm -rf $$clone' EXIT && \
	git clone -q . $$clone/src && cd $$clone/src && GOCACHE=$$clone/cache go run ./tools/dist -out dist >/dev/null && \
	diff $(CURDIR)/dist/SHA256SUMS dist/SHA256SUMS && echo "the same bytes"

.PHONY: clean
clean: ## remove what was built; .tools/ stays
	rm -rf bin dist bench/out .demo
