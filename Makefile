# The menu. Every target is one or two commands; what is longer is a script in .ci or infra.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test check build size bench rehearse infra plan deploy destroy output credentials consent columns \
	register ping doctor attention show resync accept decline restore link unlink backfill prove mutants matrix fuzz tools binaries format lints docs examples policy environment

# What the local world and the tests start; compiled functions, not libraries.
FUNCTIONS := -p webhook -p sync -p registration
# nextest runs tests side by side and shows the slow ones; cargo's own runner does as well.
RUNNER := $(if $(shell command -v cargo-nextest),nextest run,test)
# What is run on this machine must be built for it, whatever is deployed.
NATIVE := $(shell uname -m | sed 's/aarch64/arm64/')
# Where foreign bytes are read. What the readers log goes to standard output; results are reported beside it.
READERS := -p cosell -p connector -p webhook -p sync -p registration -p operator --lib --bin cosell --test posts
# The admin's command, with the values that Terraform knows of ENV. `make doctor ENV=staging ARGS=--json` passes more.
COSELL = infra/run operator $(ENV) && cargo run -q -p operator --bin cosell -- --settings infra/environments/.$(ENV).operator.json

help: ## show this menu
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: binaries ## play the scenarios in a local world, no account needed; with ONCE=1 end after them
	cargo build -p cosell-tests --bin local-world
	cargo run -q -p cosell-tests --bin local-world

test: binaries ## run all tests against the compiled functions
	cargo $(RUNNER) --workspace

check: format lints docs examples test policy size infra rehearse ## everything CI runs, nothing more and nothing less

build: tools ## the release zips, in target/lambda; ARCH=arm64 (default) or x86_64
	.ci/build webhook sync registration

plan: environment ## show what `deploy` would change in ENV=<environment>
	infra/run plan $(ENV)

deploy: environment ## create or change ENV=<environment>, after asking
	infra/run deploy $(ENV)

destroy: environment ## remove ENV=<environment>, after asking
	infra/run destroy $(ENV)

output: environment ## what Terraform knows of ENV=<environment>: addresses, names, the registration's answer
	infra/run output $(ENV)

credentials: environment ## store the credentials for Dynamics of ENV=<environment>
	@$(COSELL) credentials $(ARGS)

consent: environment ## sign in to Partner Center once for ENV=<environment>, and store what comes of it
	@$(COSELL) consent $(ARGS)

columns: environment ## create or check the columns in the Dynamics of ENV=<environment>
	@$(COSELL) columns $(ARGS)

register: environment ## put the webhook's registration right in ENV=<environment>; ARGS=--overwrite replaces a foreign one
	@$(COSELL) register $(ARGS)

ping: environment ## have Partner Center send a test event to the webhook of ENV=<environment>
	@$(COSELL) prove $(ARGS)

doctor: environment ## look whether everything is right in ENV=<environment>, with a cure for what is not
	@$(COSELL) doctor $(ARGS)

attention: environment ## what needs a person in ENV=<environment>; show, resync, accept, decline, restore, link, unlink, backfill act
	@$(COSELL) attention $(ARGS)

show resync accept decline restore link unlink backfill: environment
	@$(COSELL) $@ $(ARGS)

prove: tools ## play 200,000 lives of deals with every mishap, print what came of it; LONG=1 plays 5 million, SEED=n one again
	@[ -z "$(ENV)" ] || { echo "make prove needs no ENV; the test event of a deployment is: make ping ENV=$(ENV)" >&2; exit 2; }
	@mkdir -p target/prove
	CARD=target/prove/card-$$(date +%F).txt PROGRESS=target/prove/progress.json MUTANTS=target/mutants/score.txt \
		cargo run -q --profile prove -p prove

mutants: tools ## change the core in one place at a time and look whether its tests notice (an hour and a half)
	.ci/mutants

matrix: tools ## break every request of every flow in every way (an hour or less); FLOW=, MISHAP=, FUNCTION=, REQUEST=n for a part
	cargo build --profile matrix $(FUNCTIONS) -p cosell-tests --bins --test crashes
	cargo test -q --profile matrix $(FUNCTIONS) -p cosell-tests --test crashes -- --ignored --nocapture

fuzz: tools ## show every reader of foreign bytes 20,000 spoilt documents (ten minutes); CASES=n as many
	@CASES=$(or $(CASES),20000) cargo test -q $(READERS) foreign:: -- --nocapture >/dev/null

infra: ## check the Terraform: form, validity, tests, checkov
	.ci/infra

rehearse: tools ## deploy everything to an AWS emulator on this machine and follow the guide; with STAY=1 keep it up
	.ci/rehearse

bench: tools ## how long each program takes to start, against one that does nothing
	ARCH=$(NATIVE) .ci/build empty-function webhook sync registration
	cargo run -q -p cosell-tests --bin bench

size: tools ## check what the zips weigh and what the webhook links
	ARCH=$(NATIVE) .ci/size

# The parts of the above.

tools:
	@.ci/tools

environment:
	@test -n "$(ENV)" || { echo 'which environment? say for instance: make $(MAKECMDGOALS) ENV=staging' >&2; exit 2; }

binaries: tools
	cargo build $(FUNCTIONS)

format:
	@.ci/tools fmt
	cargo fmt --all --check

lints:
	@.ci/tools clippy
	cargo clippy --workspace --all-targets -- -D warnings

docs: tools
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

examples: tools
	cargo test --workspace --doc

policy: tools
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "skipped: cargo-deny is not installed"; fi
