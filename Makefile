.PHONY: help check format test test-slow torture bench docs evidence evidence-smoke

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

check: ## style, types, layers, and that the generated pages are current
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	python docs/generate.py --check

format: ## rewrite the files as `make check` wants them
	ruff format .
	ruff check --fix .

test: ## the test suite (pytest, not python -m pytest: our datasets/ would shadow Hugging Face's)
	pytest

test-slow: ## the tests that take minutes
	pytest -m slow

torture: ## kills, damage, faults and hostile input (docs/reliability.md), as JSON in tests/torture/results/
	for script in tests/torture/[a-z]*.py; do python $$script > tests/torture/results/$$(basename $$script .py).json || exit 1; done

bench: ## every figure of the README, as JSON in benchmarks/results/
	for script in kernel pipeline cache startup step loader fidelity; do python benchmarks/$$script.py > benchmarks/results/$$script.json || exit 1; done

docs: ## write docs/cli.md and the pictures again
	python docs/generate.py

evidence: ## does σ mean what it says, does it help (docs/evidence.md): hours; done runs are kept
	python evidence/physics.py
	python evidence/weight_shares.py
	python evidence/train.py all
	python evidence/report.py

evidence-smoke: ## a slice of it, in seconds; writes nothing that stays
	python evidence/physics.py --smoke
	python evidence/weight_shares.py --smoke
	folder=$$(mktemp -d) && trap "rm -r $$folder" EXIT && \
	python evidence/train.py all --smoke --arms l1,inverse_sigma --truths all,clean --out $$folder && \
	python evidence/report.py --results $$folder --docs $$folder
