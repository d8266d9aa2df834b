# Everything that a person does with the workshop. `make` alone says what there is.
PYTHON ?= python3
STACK  ?= dev
SET    ?=
ARGS   ?= get pods,resourceclaims -A
JSON   ?=
REPEATS ?= 3
CACHE  ?=
TOOLCHAIN ?= $(DRA_WORKSHOP_TOOLCHAIN)
BASE   ?=
FAULT  ?=
# Not from the environment: some shells have a HOST there.
PYTHON_VERSION =
PART_MB =
HOST =

# Through the environment, so that quotes in them reach the programs as they are.
export SET ARGS BASE FAULT
export DRA_WORKSHOP_TOOLCHAIN := $(TOOLCHAIN)
# All text is UTF-8, whatever the locale says.
export PYTHONUTF8 := 1

VENV := .venv/bin/python
RUN  := $(VENV) -m operations

.DEFAULT_GOAL := help
.PHONY: help setup setup-host setup-kind kind-node-image setup-dev up preview preview-diff destroy recover verify break results plots list kubectl shell logs bundle \
        test test-all lint types unit plan embedded faults bench golden docs lock clean

help: ## what there is
	@echo 'usage: make TARGET [STACK=$(STACK)] [SET="key=value …"]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

setup: ## have all tools in .tools/ and .venv (part of every target); TOOLCHAIN=download or build
	@$(PYTHON) toolchain/bootstrap.py

setup-host: ## also the tools and images of a host node: Linux as a node, without Docker
	@$(PYTHON) toolchain/bootstrap.py --host-node

setup-kind: ## also what a cluster of kind needs besides Docker: kind, the example driver, images
	@$(PYTHON) toolchain/bootstrap.py --kind

kind-node-image: setup ## build an image of kind's nodes from package registries alone; takes root
	@$(VENV) -m toolchain kind-node-image

setup-dev:
	@$(PYTHON) toolchain/bootstrap.py --dev

up: setup ## configure a stack with SET, bring it up and show what was found
	@$(RUN) up --stack '$(STACK)' --set "$$SET"

preview: setup ## what an update would change
	@$(RUN) preview --stack '$(STACK)'

preview-diff: setup ## what a change since BASE does to all stacks, or to STACK; JSON=1 for JSON
	@$(RUN) preview-diff --base="$$BASE" $(if $(JSON),--json) \
	    $(if $(filter-out file,$(origin STACK)),$(patsubst %,--stack '%',$(STACK)))

verify: setup ## run every check of a stack again
	@$(RUN) up --stack '$(STACK)' --verify

break: setup ## break something in a running lab, time what brings it back; FAULT=name, without: a list
	@$(VENV) -m faults --stack '$(STACK)' --fault "$$FAULT"

results: setup ## what the last update of a stack found; JSON=1 for JSON
	@$(RUN) results --stack '$(STACK)' $(if $(JSON),--json)

plots: setup-dev ## draw what the last update of a stack measured, as SVG beside its results
	@$(VENV) -m report.plots .results/'$(STACK)'/latest/results.json

destroy: setup ## remove all that a stack made; its results stay in .results/
	@$(RUN) destroy --stack '$(STACK)'

recover: setup ## settle what a killed update left; up and destroy do so by themselves
	@$(RUN) recover --stack '$(STACK)'

list: setup ## the stacks: what each shows, needs and takes
	@$(VENV) -m components list

kubectl: setup ## run kubectl on a stack's cluster: ARGS='get pods -A'
	@$(RUN) kubectl --stack '$(STACK)' --arguments "$$ARGS"

shell: setup ## a shell whose kubectl asks a stack's cluster, and nothing else
	@$(RUN) shell --stack '$(STACK)'

logs: setup ## the end of the logs of a stack's control plane
	@$(RUN) logs --stack '$(STACK)'

bundle: setup ## pack the lab for a machine without network; PYTHON_VERSION=3.12 PART_MB=60 HOST=0
	@$(VENV) -m toolchain bundle --python-version '$(PYTHON_VERSION)' --part-mb '$(PART_MB)' \
	    --host '$(HOST)'

test: setup-dev ## linters, types and every kind of test that can run on this machine
	@$(VENV) -m tests

test-all: setup-dev ## the same with every repeat; takes half as long again
	@$(VENV) -m tests --all

lint: setup-dev ## style of the code, and who imports whom
	@$(VENV) -m ruff check . && $(VENV) -m ruff format --check . && .venv/bin/lint-imports --no-cache

types: setup-dev ## types of the code
	@$(VENV) -m mypy

unit: setup-dev ## tests of pure logic and of the graph, without tools
	@$(VENV) -m pytest tests/unit

plan: setup-dev $(if $(filter Linux,$(shell uname)),setup-kind) ## golden previews; what kind takes
	@$(VENV) -m pytest tests/plan

embedded: setup-dev ## real updates of every stack on embedded clusters
	@$(VENV) -m pytest -n 2 tests/embedded

faults: setup-dev ## labs that are killed, lose files, run out of disk
	@$(VENV) -m pytest -n 2 tests/faults

bench: setup-dev ## what `up` costs beside kubectl, measured; REPEATS=5, JSON=1 for JSON
	@$(VENV) -m bench --repeats '$(REPEATS)' $(if $(JSON),--json)

golden: setup-dev ## write the golden previews anew
	@$(VENV) -m pytest tests/plan --golden

docs: setup-dev ## write what follows from the declarations: Pulumi.yaml's keys, tables of documents
	@$(VENV) -m components settings

lock: setup-dev ## write the lock files anew from pyproject.toml
	@$(VENV) -m uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 \
	    pyproject.toml -o requirements.lock
	@$(VENV) -m uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 \
	    --extra dev pyproject.toml -o requirements-dev.lock

clean: ## remove .tools/ and .venv; CACHE=1 also the cache of tools
	@if [ -x $(VENV) ]; then $(VENV) -m toolchain clean $(if $(CACHE),--cache); fi
