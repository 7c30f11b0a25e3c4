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

evidence: ## does σ mean what it says (docs/evidence.md), into evidence/results/
	python evidence/physics.py

evidence-smoke: ## a slice of it, in seconds; writes nothing
	python evidence/physics.py --smoke
