# The menu. Every target is one or two commands; what is longer is a script in .ci.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test check build size tools binaries format lints docs examples policy

# What the local world and the tests start; compiled functions, not libraries.
FUNCTIONS := -p webhook -p sync -p registration
# nextest runs tests side by side and shows the slow ones; cargo's own runner does as well.
RUNNER := $(if $(shell command -v cargo-nextest),nextest run,test)

help: ## show this menu
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: binaries ## play the scenarios in a local world, no account needed; with ONCE=1 end after them
	cargo build -p cosell-tests --bin local-world
	cargo run -q -p cosell-tests --bin local-world

test: binaries ## run all tests against the compiled functions
	cargo $(RUNNER) --workspace

check: format lints docs examples test policy size ## everything CI runs, nothing more and nothing less

build: tools ## the release zips, in target/lambda
	.ci/pack webhook sync registration

size: tools ## check what the zips weigh and what the webhook links
	.ci/size

# The parts of the above.

tools:
	@.ci/tools

binaries: tools
	cargo build $(FUNCTIONS)

format: tools
	cargo fmt --all --check

lints: tools
	cargo clippy --workspace --all-targets -- -D warnings

docs: tools
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

examples: tools
	cargo test --workspace --doc

policy: tools
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "skipped: cargo-deny is not installed"; fi
