# The two main commands are `make serve` and `make test`. They need Python 3.11+ and make, and install everything else.

UV := $(shell command -v uv || echo .tools/bin/uv)
# Progress is for people: uv is quiet unless standard error is a terminal.
QUIET := $(shell test -t 2 || echo --quiet)
# What serving needs is part of what the tests need, so that a complete environment is never reduced.
READY := .venv/.ready
SERVED := $(if $(wildcard $(READY)),$(READY),.venv/.served)
# An installation that was interrupted leaves .venv without a mark, and perhaps packages without all of their files.
AGAIN = $$(test ! -d .venv || test -e .venv/.ready || test -e .venv/.served || echo --reinstall)
SYNC = again=$(AGAIN); rm -f .venv/.ready .venv/.served; $(UV) sync --frozen $(QUIET) $$again
# The container image and its version: the tag of the commit, or one that names the commit.
export IMAGE ?= hextasks
REVISION = $(or $(shell git rev-parse HEAD 2>/dev/null),unknown)
VERSION = $(or $(patsubst v%,%,$(shell git describe --tags --exact-match --match 'v*' 2>/dev/null)),0.0.0+$(REVISION))
# Trust the machine's certificate authorities, which a company's proxy needs.
export UV_SYSTEM_CERTS = true

# Keep compiled code, whatever the environment says: without it every process starts up to a second later.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help serve test test-fast clients torture soak poolers bench docs image up down test-image check format release-check clean

help:  ## Show these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

serve: $(SERVED)  ## Run the service; settings come from the environment and .env
	@exec .venv/bin/hextasks serve

test: $(READY)  ## Run every test and check the coverage
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory .clients/.ready || echo 'Without the tools, the tests of tests/http/test_clients.py are skipped'; fi
	@rm -f .coverage*
	.venv/bin/coverage run -m pytest -n 4 --dist worksteal $(PYTEST_ARGS)
	@.venv/bin/coverage combine --quiet
	.venv/bin/coverage report --include='domain/*,application/*' --fail-under=100
	.venv/bin/coverage report --omit='domain/*,application/*' --fail-under=90

# What is ignored contains no such test; tests/conftest.py ignores further files, by their marks.
test-fast: $(READY)  ## Run the tests that need no database, no running service and no long waits
	.venv/bin/pytest -q -m 'not database and not service and not slow' --hypothesis-profile=fast --ignore=tests/client --ignore=tests/examples --ignore=tests/http --ignore=tests/torture

clients: $(READY) .clients/.ready  ## Lint the OpenAPI document, and test clients that are generated from it; needs npm
	.venv/bin/pytest -q tests/http/test_clients.py

torture: $(READY)  ## Test reliability: kills, outages, failover, disconnects, overload, hostile clients, stops, long load; about 20 minutes
	.venv/bin/python -m tests.torture $(TORTURE_ARGS)

poolers: $(READY)  ## Test the whole contract of the repository through PgBouncer, where it is installed
	TEST_WHOLE_POOLED_CONTRACT=1 .venv/bin/pytest -q tests/torture/test_poolers.py

SOAK_MINUTES ?= 60
soak: $(READY)  ## Run two replicas under mixed load for SOAK_MINUTES, by default an hour, restarts in it; needs haproxy
	.venv/bin/python -m tests.torture soak --minutes $(SOAK_MINUTES)

bench: $(READY) .bench/usual/.ready  ## Compare with the usual stack, the limit and the database; BENCH_ARGS=--quick takes two minutes
	.venv/bin/python -m tests.benchmarks $(BENCH_ARGS)

docs: .docs/.ready  ## Build the documentation into .docs/site
	@NO_MKDOCS_2_WARNING=1 .docs/python/bin/mkdocs build --strict --quiet
	@echo 'Open .docs/site/index.html'

image:  ## Build the container image, and print its size; needs Docker
	docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) $(IMAGE_ARGS) --tag $(IMAGE) .
	@docker image inspect --format '{{.Size}}' $(IMAGE) | awk '{ printf "$(IMAGE) %s has %.0f MB\n", "$(VERSION)", $$1 / 1e6 }'

up: image  ## Run the service in containers: PostgreSQL, two replicas and a proxy; data stays until they are removed
	@test -n "$$JWT_SECRET" || grep -qs '^JWT_SECRET=.' .env || { umask 077; echo 'Generating JWT_SECRET, kept in .env'; \
	  printf '\nJWT_SECRET=%s\n' "$$(head -c 48 /dev/urandom | base64 | tr -d '\n')" >>.env; chmod go= .env; }
	docker compose up --detach --wait --wait-timeout 120 proxy
	@echo "hextasks listens on http://$$(docker compose port proxy 8000)"

# The file of compose requires a secret, also where it is not used.
down:  ## Stop and remove these containers, but not the data
	@JWT_SECRET=unused docker compose down

test-image: $(READY) .tools/kubernetes/.ready  ## Test the container image, compose.yaml, the manifests for Kubernetes and their guides; needs Docker
	TEST_IMAGE=1 .venv/bin/pytest -q tests/operations

check: $(READY)  ## Lint, type checks and import rules
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

format: $(READY)  ## Format the code and apply automatic fixes
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

release-check: $(READY) .tools/release/.ready  ## Build a release into dist/ and check it; docs/releasing.md has the steps
	.venv/bin/pytest -q tests/packaging
	@.venv/bin/python -m tests.packaging.release

clean:  ## Remove build results and caches, but not the data
	rm -rf .venv .tools .bench .clients .docs dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage*

.venv/.served: pyproject.toml uv.lock | $(UV)
	@echo 'Installing the service into .venv'
	@$(SYNC) --extra http --extra postgres --extra embedded --no-default-groups
	@touch $@

# Compiled now, and not by each of the processes that run the tests at once.
$(READY): pyproject.toml uv.lock | $(UV)
	@echo 'Installing the service and the tools for tests into .venv'
	@$(SYNC) --all-extras --compile-bytecode
	@.venv/bin/python -m compileall -q domain application adapters entrypoints hextasks
	@touch $@

.bench/usual/.ready: pyproject.toml uv.lock | $(UV)
	@echo 'Installing the usual stack into .bench/usual'
	@UV_PROJECT_ENVIRONMENT=.bench/usual $(UV) sync --frozen --only-group bench --quiet
	@touch $@

.docs/.ready: pyproject.toml uv.lock | $(UV)
	@echo 'Installing the tools for the documentation into .docs/python'
	@UV_PROJECT_ENVIRONMENT=.docs/python $(UV) sync --frozen --only-group docs --quiet
	@touch $@

.clients/.ready: tests/http/clients/package-lock.json pyproject.toml uv.lock | $(UV)
	@echo 'Installing linters and client generators for the OpenAPI document'
	@mkdir -p .clients && cp tests/http/clients/package.json tests/http/clients/package-lock.json .clients
	@cd .clients && npm ci --engine-strict --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=1 --fetch-timeout=30000
	@UV_PROJECT_ENVIRONMENT=.clients/python $(UV) sync --frozen --only-group clients --quiet
	@touch $@

.tools/bin/uv:
	@echo 'Installing uv, which installs the rest, into .tools'
	@python3 -m venv .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'

.tools/kubernetes/.ready: pyproject.toml uv.lock | $(UV)
	@echo 'Installing the schemas of Kubernetes into .tools/kubernetes'
	@UV_PROJECT_ENVIRONMENT=.tools/kubernetes $(UV) sync --frozen --only-group kubernetes --quiet
	@touch $@

.tools/release/.ready: pyproject.toml uv.lock | $(UV)
	@echo 'Installing the tools for releases into .tools/release'
	@UV_PROJECT_ENVIRONMENT=.tools/release $(UV) sync --frozen --only-group release --quiet
	@touch $@
