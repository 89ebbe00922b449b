# Every target does its own set-up on Debian and Ubuntu; where all is present nothing is downloaded.
# CARGO_TARGET_DIR is honoured, so that clones can share one build.

SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help setup build test lint check-cuda check-neon bench bench-davis ablation faults soak cycles demo pictures clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## Install what is missing: system packages (apt, as root or with sudo) and Rust (rustup)
	@bash .ci/setup

build: setup ## Build the release binary
	cargo build --release --workspace

test: setup ## Run the tests; the last line is their sum (release profile: one build serves the tests and the demo)
	@bash .ci/test

lint: setup ## Formatting, clippy without warnings, the direction of imports, licences and sources
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	cargo test --release --workspace --test it --quiet structure::
	@bash .ci/deny

check-cuda: setup ## Compile-check the cuda feature, with a compiler from PyPI where there is none (about 15 minutes)
	@bash .ci/check-cuda

check-neon: setup ## Compile-check the CPU kernels for aarch64
	@bash .ci/check-neon

bench: setup ## How fast, beside PyTorch, ONNX Runtime and OpenVINO; results in benches/results (about 20 minutes; PARTS=)
	@bash .ci/bench $(PARTS)

bench-davis: setup ## How fast DAVIS results are judged, beside the official evaluator's times (wants ../shared)
	cargo bench --bench davis

ablation: setup ## What each choice of the best preset is worth, on DAVIS (wants ../shared; about 20 minutes)
	cargo bench --bench ablation

soak: setup ## Many cameras for MINUTES=30 (CAMERAS=8): what the daemon holds stays what it is; a plot in benches/results
	@bash .ci/soak soak $(MINUTES) $(CAMERAS)

cycles: setup ## Cameras break a thousand times, and a thousand come and go (COUNT=1000): nothing is left behind
	@bash .ci/soak cycles $(COUNT)

faults: setup ## Break things on purpose and measure how maskd recovers; one table in benches/results (FAULTS="cut stall", REPEATS=20)
	@MASKD_FAULTS="$(FAULTS)" MASKD_REPEATS="$(REPEATS)" MASKD_FAULTS_TABLE="benches/results/faults-$$(date +%F).md" \
	    cargo test --release --workspace --test faults -- --ignored --exact bench::the_table --nocapture

demo: build ## The main job on a sample clip: live table, summary, demo.mp4 (SOURCE=, WEIGHTS=, SECONDS_MAX=40)
	@SOURCE="$(SOURCE)" WEIGHTS="$(WEIGHTS)" SECONDS_MAX="$(SECONDS_MAX)" bash .ci/demo

pictures: setup ## Draw the first picture of README.md again by the command under it (wants ../shared)
	MASKD_PICTURES="$(CURDIR)/docs/pictures" cargo test --release --test it pictures:: -- --nocapture

clean: ## Remove everything that was built
	cargo clean
