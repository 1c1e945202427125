# Everything a newcomer needs: `make run`, `make test`. Both install what is missing first.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run perf test venv unprivileged sanitize fuzz screenshot lint format install install-test

# apt needs root; elsewhere sudo asks for it.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# redis-server and redis-tools are for perf, which starts its own.
RUN_PACKAGES := libhiredis-dev libjemalloc-dev redis-server redis-tools
TEST_PACKAGES := $(RUN_PACKAGES) prometheus openssl chromium chromium-driver fonts-dejavu-core valgrind python3-venv
RUN_FORMULAE := hiredis jemalloc redis
TEST_FORMULAE := $(RUN_FORMULAE) prometheus openssl
TEST_CASKS := google-chrome chromedriver

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: install ## Build in release mode and serve on 127.0.0.1:8080 from the embedded store.
	swift build -c release --product cistern
	exec "$$(swift build -c release --show-bin-path)/cistern" serve $(ARGS)

perf: install ## Measure this machine: swift run perf.
	swift run -c release perf $(ARGS)

# How many tests may run at once: each may start half a dozen processes, and those that wait for one another have deadlines.
TEST_WIDTH := $(shell expr 3 '*' $$(getconf _NPROCESSORS_ONLN))

# Simulated worlds keep every core busy for a minute, and a million organizations on a ring for ten seconds; apart, they
# do not starve the tests that talk to real processes.
# Nodes that fail under load are tested one at a time, so that what is measured there is the fault and not the neighbor;
# so are benchmarks, whose smoke runs look at counts, and the dashboard, whose browser takes a core.
# PerfTests count the instructions of a decision in a release build, under valgrind; macOS has none, and there the test that
# counts them is not compiled.
test: install-test venv lint ## Check the format, build with warnings as errors, and run every test.
	swift build --build-tests
	swift test --skip-build --experimental-maximum-parallelization-width $(TEST_WIDTH) \
		--skip CisternSimulationTests --skip CisternTests --skip CisternClusterTests --skip FaultTests --skip PerfTests --skip DashboardTests
	$(MAKE) unprivileged
	swift test --skip-build --no-parallel --filter DashboardTests
	swift test --skip-build --no-parallel --filter FaultTests
	swift build -c release --product DecisionCount
	swift test --skip-build --no-parallel --filter PerfTests
	swift test --skip-build --filter 'CisternTests|CisternClusterTests'
	swift test --skip-build --filter CisternSimulationTests
	$(MAKE) sanitize

# What the tests take from PyPI: the schemas of Kubernetes.
venv:
	@[ -x .build/venv/bin/kubernetes-validate ] || { python3 -m venv .build/venv && \
		.build/venv/bin/pip install -q kubernetes-validate==1.37.0; }

# Root may do what a server must do without; others have run them without privileges already.
unprivileged: ## Run the server's end-to-end tests as a user without privileges.
	if [ "$$(id -u)" = 0 ]; then \
		CISTERN_TEST_LAUNCHER='setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all' \
		swift test --skip-build --experimental-maximum-parallelization-width $(TEST_WIDTH) \
			--filter 'ServeTests|DrainTests'; \
	fi

sanitize: ## Run the engine's tests that use many threads under the thread sanitizer.
	swift test --package-path Tests/ThreadSanitizer --sanitize=thread --scratch-path .build/sanitize \
		--filter 'ConcurrencyTests|ShardLockTests'

# Ends at the first input that the two read differently and leaves it in .build. New inputs stay in .build/corpus.
FUZZ_SECONDS := 600
fuzz: install ## Look for requests that the server's reader and llhttp read differently.
	swift build --package-path Tests/RequestFuzz -c release --scratch-path .build/fuzz --product RequestFuzz \
		-Xswiftc -enable-testing -Xswiftc -sanitize=fuzzer -Xswiftc -use-ld=lld
	mkdir -p .build/corpus
	SWIFT_BACKTRACE=enable=no .build/fuzz/release/RequestFuzz -max_total_time=$(FUZZ_SECONDS) -max_len=2600 \
		-dict=Tests/RequestFuzz/request.dict -artifact_prefix=.build/ .build/corpus Tests/RequestFuzz/Corpus

# A quarter of a million bytes become fifty thousand: 64 colors are enough for a page.
screenshot: install-test ## Take the README's picture of the dashboard anew.
	@$(call install_missing,pngquant,pngquant,)
	CISTERN_SCREENSHOT_SECONDS=280 swift test --no-parallel --filter DashboardTests.crowded
	pngquant --force --speed 1 --output Tests/CisternServerTests/dashboard.png 64 .build/screenshots/dashboard.png

lint: ## Check the format of the sources.
	swift format lint --strict --parallel --recursive Package.swift Sources Perf Tests

format: ## Put the sources into their format.
	swift format --in-place --parallel --recursive Package.swift Sources Perf Tests

install: ## Install what building and running need.
	@$(call install_missing,$(RUN_PACKAGES),$(RUN_FORMULAE),)

install-test: ## Install what the tests need.
	@$(call install_missing,$(TEST_PACKAGES),$(TEST_FORMULAE),$(TEST_CASKS))

# Installs the Debian packages or Homebrew formulae that are not there yet, and only those. Servers that a package
# would start of its own accord stay off: tests start their own.
define install_missing
if command -v dpkg-query >/dev/null; then \
	missing=; \
	for package in $(1); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing:$$missing"; \
		$(SUDO) apt-get update -q && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -q -y --no-install-recommends $$missing; \
	fi; \
elif command -v brew >/dev/null; then \
	for formula in $(2); do brew list --formula $$formula >/dev/null 2>&1 || brew install $$formula || exit 1; done; \
	for cask in $(3); do brew list --cask $$cask >/dev/null 2>&1 || brew install --cask $$cask || exit 1; done; \
else \
	echo 'neither apt nor Homebrew is here: install $(2) by hand' >&2; exit 1; \
fi
endef
