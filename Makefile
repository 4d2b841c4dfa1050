# `make` lists the targets. Everything that is built lies in the user's cache folder, shared by clones.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
SITE ?= lab
PATH := $(CURDIR)/.venv/bin:$(PATH)
export PATH
export PYTHONPATH := $(CURDIR)/src
export PYTHONDONTWRITEBYTECODE := 1
TIMED = bin/timed

.PHONY: help setup mirror secrets generate lint unit content check mutation test test-all demo bench runbooks docs down clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make the virtual environment
	@bin/setup

mirror: setup
	@$(TIMED) "artifact mirror" python -m lab mirror --packaged >/dev/null

secrets: setup ## Make the secrets of a site once: make secrets SITE=lab
	@python -m observatory.secrets inventories/$(SITE)

generate: setup ## Regenerate defaults and the variable reference from the argument specs, the catalogue of alerts, and the dashboards
	@python -m observatory.reference
	@python -m observatory.catalogue
	@python -m observatory.dashboards

lint: setup ## ruff, yamllint, ansible-lint, generated files in step
	@$(TIMED) ruff ruff check .
	@$(TIMED) yamllint yamllint --strict .
	@$(TIMED) ansible-lint ansible-lint --offline -q --nocolor
	@$(TIMED) "generated files" python -m observatory.reference --check
	@$(TIMED) "alert catalogue" python -m observatory.catalogue --check
	@$(TIMED) "dashboards" python -m observatory.dashboards --check

unit: setup ## Unit tests
	@$(TIMED) "unit tests" python -m pytest tests/unit -n 2

content: setup mirror ## Alert rules, runbooks, pipelines, dashboards and docs
	@$(MAKE) --no-print-directory secrets SITE=lab
	@$(TIMED) "content tests" python -m pytest tests/content -n 2 --dist loadfile

# Whole: what a change does not touch is known from the cache, and is not run again.
mutation: setup mirror ## Change each alert's thresholds, comparisons and `for` in turn: a test has to fail
	@$(TIMED) "mutation" python -m observatory.mutation

check: lint unit content mutation ## All that needs no host

test: check ## check, then Molecule: Debian 13 whole, Debian 12 short
	@$(TIMED) "molecule: default" molecule test --scenario-name default
	@$(TIMED) "molecule: debian12" molecule test --scenario-name debian12
	@$(TIMED) --report

test-all: test ## test, then drills of alerts and their runbooks, and a cluster of three Elasticsearch nodes: restarts, losses, failures
	@$(TIMED) "molecule: oncall" molecule test --scenario-name oncall
	@$(TIMED) "molecule: cluster" molecule test --scenario-name cluster
	@$(TIMED) --report

demo: setup ## Bring up the lab, run site.yml, follow a metric and an alert from end to end
	@$(MAKE) --no-print-directory secrets SITE=lab
	@$(TIMED) "hosts of the lab" python -m lab up demo
	@$(TIMED) "site.yml" ansible-playbook -i inventories/lab site.yml
	@$(TIMED) "verify.yml" ansible-playbook -i inventories/lab playbooks/verify.yml

bench: setup mirror ## Seconds that all rules take with 50 hosts; runs without a change on one host and on five; log lines and spans a second
	@python tests/bench_rules.py
	@$(MAKE) --no-print-directory secrets SITE=lab
	@python -m lab up bench
	@python tests/bench.py
	@python tests/bench_signals.py

runbooks: setup ## Export a site's runbooks as web pages into build/runbooks, for a place outside: make runbooks SITE=lab
	@python -m observatory.runbooks inventories/$(SITE)

docs: setup ## Build the documentation into build/docs
	@mkdocs build --strict --quiet --site-dir build/docs

down: setup ## Remove the lab's hosts
	@python -m lab down all

clean: setup ## Remove the lab's hosts, images, and everything that was built
	@python -m lab clean
	@rm -rf build .venv $${XDG_CACHE_HOME:-$$HOME/.cache}/observatory
