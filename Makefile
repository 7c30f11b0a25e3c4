.PHONY: help check format test test-slow torture bench bench-gpu docs site evidence evidence-smoke evidence-test

PYTHON ?= python
# Tools of the same environment, activated or not: make test PYTHON=.venv/bin/python
BIN := $(dir $(shell command -v $(PYTHON)))

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

check: ## style, types, layers, and that the generated pages are current
	$(BIN)ruff format --check .
	$(BIN)ruff check .
	$(BIN)mypy
	$(BIN)lint-imports
	$(PYTHON) docs/generate.py --check

format: ## rewrite the files as `make check` wants them
	$(BIN)ruff format .
	$(BIN)ruff check --fix .

test: ## the tests (pytest, not python -m pytest: our datasets/ would shadow Hugging Face's)
	$(BIN)pytest

test-slow: ## the other tests: campaigns of damage, kills and hostile input, clusters, many processes
	$(BIN)pytest -m slow

torture: ## kills, damage, faults and hostile input (docs/reliability.md), as JSON in tests/torture/results/
	for name in kills corruption faults fuzz; do $(PYTHON) tests/torture/$$name.py > tests/torture/results/$$name.json || exit 1; done

bench: ## every figure of the README, as JSON in benchmarks/results/
	for name in kernel pipeline cache groups startup step loader annotate fidelity check_loader decode containers resize_depth cluster million scaling; do $(PYTHON) benchmarks/$$name.py > benchmarks/results/$$name.json || exit 1; done

bench-gpu: ## on a machine with a GPU: its tests, kernel, step and whole run, in benchmarks/results/gpu/
	$(PYTHON) benchmarks/gpu.py

docs: ## write docs/cli.md and the pictures again
	$(PYTHON) docs/generate.py

site: ## the documentation as a site, in build/site; a warning is an error
	$(BIN)sphinx-build --fail-on-warning --keep-going --quiet --conf-dir docs . build/site

evidence: ## does σ mean what it says, does it help (docs/evidence.md): hours; done runs are kept
	$(PYTHON) evidence/physics.py
	$(PYTHON) evidence/weight_shares.py
	$(PYTHON) evidence/train.py all
	$(PYTHON) evidence/train.py choose --seeds 2
	$(PYTHON) evidence/train.py confirm
	$(PYTHON) evidence/train.py multimodal
	$(PYTHON) evidence/report.py

evidence-smoke: ## a slice of it, in seconds; writes nothing that stays
	$(PYTHON) evidence/physics.py --smoke
	$(PYTHON) evidence/weight_shares.py --smoke
	folder=$$(mktemp -d) && trap "rm -r $$folder" EXIT && \
	$(PYTHON) evidence/train.py all --smoke --arms l1,inverse_sigma --truths all,clean --out $$folder && \
	$(PYTHON) evidence/report.py --results $$folder --docs $$folder

evidence-test: ## the tests of the study
	$(BIN)pytest evidence/tests
