# `make run` and `make test` are all a newcomer needs; `make help` lists the rest.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
UP_FLAGS ?=
FUZZ_SECONDS ?= 300
# What the WebAssembly in the web app is built from.
WASM_SOURCES := $(addsuffix /src,$(addprefix crates/,media messages seal metadata verify)) web/verify/build.mjs
# The provider at which people sign in, in a test.
OIDC_PROVIDER := control/tests/oidc-provider/node_modules/.package-lock.json
# What asks the API all that its document has, in a test.
SCHEMATHESIS := control/tests/schemathesis/venv/installed
FUZZ_TARGETS ?= playlist/log playlist/directives rtmp/handshake rtmp/session rtmp/amf rtmp/flv metadata/fold

.DEFAULT_GOAL := help
.PHONY: help reference run build test check unit soak fuzz audit bench obs-test compose-test web fmt clean setup setup-test setup-obs setup-bench

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: build ## install what is missing, build, and run everything on this machine (UP_FLAGS="--no-source" …)
	exec $(TARGET)/release/sealcast up $(UP_FLAGS)

build: setup web ## the release binary: target/release/sealcast
	$(CARGO) build --release --locked --workspace

test: setup-test web check unit ## everything that CI runs: lints, unit tests, real components end to end

check: ## formatting, lints, dependency rules, TypeScript
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	node scripts/check-dependencies.mjs
	node scripts/check-circles.mjs
	node scripts/check-threat-model.mjs
	node scripts/reference.mjs
	npm --prefix web run --silent check
	npm --prefix web run --silent test

unit: $(OIDC_PROVIDER) $(SCHEMATHESIS) ## all Rust tests, those on real components included
	$(CARGO) nextest run --workspace --locked

reference: ## write docs/reference from the code
	node scripts/reference.mjs --write
	SEALCAST_UPDATE_REFERENCE=1 $(CARGO) test --workspace --locked --lib file_in_the_source_tree_is_the_document
	SEALCAST_UPDATE_REFERENCE=1 $(CARGO) test --workspace --locked --bin sealcast reference

soak: setup-test web ## the long tests: hundreds of changes of rendition, minutes in every browser; takes an hour and a half
	$(CARGO) nextest run --workspace --locked --profile soak --run-ignored only soak_

fuzz: ## fuzz playlists (random logs and queries), RTMP (random bytes) and the metadata log (random statements of its control), FUZZ_SECONDS (300) each; needs `cargo install cargo-fuzz`
	@for target in $(FUZZ_TARGETS); do \
		crate=$${target%/*} name=$${target#*/} && \
		mkdir -p $(abspath $(TARGET))/fuzz-corpus/$$target && \
		cd $(CURDIR)/crates/$$crate && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --sanitizer none $$name \
			$(abspath $(TARGET))/fuzz-corpus/$$target fuzz/corpus/$$name -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

audit: ## look for published advisories against what we depend on; needs the network and `cargo install cargo-audit`
	$(CARGO) audit
	npm --prefix web audit

bench: setup-bench build ## measure Sealcast side by side with the named peers; takes about 20 minutes
	$(TARGET)/release/bench

obs-test: setup-obs web ## stream from OBS itself, without a screen, to `sealcast up`: cut off, killed, refused; takes about 5 minutes
	$(CARGO) test --package sealcast --test obs --locked -- --ignored

compose-test: build ## test the cluster of docker-compose.yml from nothing, with a Docker daemon of its own if none runs (as root)
	scripts/compose-test.sh $(TARGET)/release/sealcast

web: web/dist/index.html ## the web app, built into web/dist

$(OIDC_PROVIDER): control/tests/oidc-provider/package.json control/tests/oidc-provider/package-lock.json
	npm --prefix control/tests/oidc-provider ci --no-audit --no-fund --ignore-scripts
	touch $@

$(SCHEMATHESIS): control/tests/schemathesis/requirements.txt
	rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $<
	touch $@

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	npm --prefix web ci --no-audit --no-fund
	touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(shell find web/src web/verify/src web/public $(wildcard web/*.html) web/vite.config.ts $(WASM_SOURCES) -type f 2>/dev/null)
	npm --prefix web run --silent build

fmt: ## format everything
	$(CARGO) fmt --all

setup:
	@scripts/setup.sh build

setup-test:
	@scripts/setup.sh test

setup-obs:
	@scripts/setup.sh obs

setup-bench:
	@scripts/setup.sh bench

clean: ## remove what was built, not what was streamed (./data stays)
	$(CARGO) clean
	rm -rf web/dist web/node_modules control/tests/oidc-provider/node_modules control/tests/schemathesis/venv
