# make demo and make test do all the set-up that they need. Doing it again is quick.

MAKEFLAGS += --no-print-directory
SHELL := bash
.DEFAULT_GOAL := help

TARGET := $(abspath $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target))
export CARGO_TARGET_DIR := $(TARGET)
export DAFFI_COMPONENTS := $(TARGET)/components
export DAFFI_RUNTIME := $(TARGET)/debug/daffi-runtime

# What benches write, and charts are drawn from.
export DAFFI_BENCH_JSON ?= $(TARGET)/bench/mesh.json
export DAFFI_GROWTH_JSON ?= $(TARGET)/bench/growth.json

# Cargo on the guests' workspace for what runs on this machine: tests of the SDK, lints.
GUESTS_ON_HOST = --manifest-path guests/Cargo.toml --target-dir $(TARGET)/guests-host

.PHONY: help demo test soak bench bench-growth bench-charts lint fmt runtime guests guests-rust guests-other tools clean

help:
	@echo "make demo      two processes, one calls a function of the other: Result = 20"
	@echo "make test      every test: protocol, runtime, guests, examples, through the real binary too"
	@echo "make soak      attacks of hostile guests and peers, each a hundred times: some 20 minutes"
	@echo "make bench     what a call costs, against a bare echo over the same socket"
	@echo "make bench-growth  of it, what the protocol costs as work grows: some seconds"
	@echo "make bench-charts  draws what make bench measured last, into docs/bench (Python 3)"
	@echo "make lint      formatting and clippy, of runtime and guests"
	@echo "make fmt       formats everything"
	@echo "make runtime   only the binary: $(DAFFI_RUNTIME)"
	@echo "make guests    only the guests: $(DAFFI_COMPONENTS)"
	@echo "make clean     removes all that was built"

demo: tools
	@guests/build.sh publisher consumer
	@$(MAKE) runtime
	@examples/publisher-consumer/run.sh

test: tools guests lint
	cargo test $(GUESTS_ON_HOST) --locked --package daffi
	cargo test --locked --workspace

soak: tools guests-rust
	DAFFI_SOAK=1 cargo test --locked --package daffi-runtime --test e2e hostile -- --nocapture --test-threads 1

bench: tools guests-rust bench-growth
	@mkdir -p "$(dir $(DAFFI_BENCH_JSON))"
	cargo bench --locked --package daffi-runtime --bench mesh

bench-growth: tools
	@mkdir -p "$(dir $(DAFFI_GROWTH_JSON))"
	cargo bench --locked --package daffi-proto --bench growth

bench-charts:
	python3 runtime/benches/charts.py docs/bench "$(DAFFI_BENCH_JSON)" "$(DAFFI_GROWTH_JSON)"

lint: tools
	cargo fmt --all --check
	cargo fmt --manifest-path guests/Cargo.toml --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy $(GUESTS_ON_HOST) --locked --workspace --all-targets -- -D warnings

fmt: tools
	cargo fmt --all
	cargo fmt --manifest-path guests/Cargo.toml --all

runtime: tools
	cargo build --locked --package daffi-runtime

guests: guests-rust guests-other

guests-rust: tools
	@guests/build.sh

guests-other: tools
	@for language in $(wildcard guests/js/build.sh guests/python/build.sh); do $$language || exit 1; done

# What cannot be set up from here must be there.
tools:
	@command -v cargo >/dev/null || { echo "error: cargo is missing, it builds everything here: install Rust with rustup, from https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "error: cc is missing, Rust needs a C compiler to link: install gcc or clang (Debian: apt install build-essential)" >&2; exit 1; }
	@need=$$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml); have=$$(rustc --version | cut -d ' ' -f 2); \
	[ "$$(printf '%s\n' "$$need" "$$have" | sort -V | head -n 1)" = "$$need" ] || \
	{ echo "error: rustc $$have is too old, the runtime needs $$need: rustup update stable" >&2; exit 1; }

clean:
	cargo clean
