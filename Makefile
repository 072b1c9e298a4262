# Build, test, demonstrate.  The two that a newcomer needs:
#
#   make demo     install what is missing, build, serve real requests
#   make test     the same preparation, then all tests
#
# Variables: PYTHON picks the interpreter (each version has its own venv),
# TESTS what to test, PYTEST_ARGS what to tell pytest, SANITIZE which
# sanitizers, COMPAT_ARGS what to tell compat_tests, BENCH_ARGS the benchmarks.
# The TAC_ variables of setup.py are read from the environment.

ifeq ($(origin PYTHON),undefined)
PYTHON := python3
VENV ?= .venv
else
VENV ?= .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif

TESTS ?= tests
# Half of the tests wait for processes and threads, so more than there are cores.
PYTEST_ARGS ?= --numprocesses=4
COMPAT_ARGS ?=
BENCH_ARGS ?=
SANITIZE ?= address,undefined
RUN := $(VENV)/bin/python
# A variant's tests run in another folder.
VARIANT_TESTS = $(PYTEST_ARGS) $(foreach test,$(TESTS),$(abspath .)/$(test))

.PHONY: help build prepare demo test test-real scope-pairs debug sanitize coverage compat-cpython \
	compat-trio compat-trio-asyncio compat-libraries compat-nest-asyncio compat-tornado \
	compat-quattro compat-traio compat-anyio compat-taskgroups bench clean distclean
.NOTPARALLEL:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile
	@echo 'Also: build test-real scope-pairs debug sanitize coverage compat-cpython compat-trio'
	@echo 'compat-trio-asyncio compat-libraries compat-nest-asyncio compat-tornado'
	@echo 'compat-quattro compat-traio compat-anyio compat-taskgroups bench clean'
	@echo 'distclean (CONTRIBUTING.rst)'

prepare:
	@tools/bootstrap.sh $(PYTHON)
	@tools/venv.sh $(PYTHON) $(VENV) test

# Into the package folder; the name of the file carries the interpreter's ABI
# tag, so that several interpreters share one checkout.
build: prepare
	@$(RUN) setup.py --quiet build_ext --inplace

demo: build
	$(RUN) examples/demo.py

test: build
	$(RUN) -m pytest $(PYTEST_ARGS) $(TESTS)

# Libraries and servers at work on the loop, in a venv that has them; the servers
# are those of tools/servers.sh, and a test without its own is skipped.  Those of
# the crossings run twice: without the trio package, and on it.
test-real: VENV_REAL = .venv-test-real-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
test-real: TESTS := tests/net/real tests/cross/real
test-real: CROSS_TESTS = $(filter tests/cross/%,$(TESTS))
test-real: PYTEST_ARGS := --numprocesses=4 --dist=loadfile
test-real: build
	@tools/venv.sh $(PYTHON) $(VENV_REAL) test-real
	$(VENV_REAL)/bin/python -m pytest $(PYTEST_ARGS) $(TESTS)
	$(if $(CROSS_TESTS),$(VENV_REAL)/bin/python -m pytest $(PYTEST_ARGS) \
		-p trio_asyncio_c.pytest_trio $(CROSS_TESTS))

debug: prepare
	TAC_DEBUG=1 tools/test-variant.sh $(VENV) $(VARIANT_TESTS)

sanitize: prepare
	TAC_SANITIZE=$(SANITIZE) tools/test-variant.sh $(VENV) $(VARIANT_TESTS)

coverage: prepare
	@tools/venv.sh $(PYTHON) $(VENV) coverage
	TAC_COVERAGE=1 tools/test-variant.sh $(VENV) $(VARIANT_TESTS)
	$(RUN) -m gcovr --root . --filter csrc/ build/variants/coverage-1-*

# Cancel scopes beside all else that cancels in asyncio, as a table.
scope-pairs: build
	$(RUN) -m tests.aio._scope_pairs

# Other projects' tests on ours: compat_tests/README.rst.
compat-cpython: build
	$(RUN) -m compat_tests.cpython $(COMPAT_ARGS)

compat-trio: build
	$(RUN) -m compat_tests.trio $(COMPAT_ARGS)

compat-trio-asyncio: build
	$(RUN) -m compat_tests.trio_asyncio $(COMPAT_ARGS)

compat-traio: build
	$(RUN) -m compat_tests.traio $(COMPAT_ARGS)

compat-libraries: build
	$(RUN) -m compat_tests.trio_libraries $(COMPAT_ARGS)

compat-quattro: build
	$(RUN) -m compat_tests.quattro $(COMPAT_ARGS)

compat-anyio: build
	$(RUN) -m compat_tests.anyio $(COMPAT_ARGS)

compat-taskgroups: build
	$(RUN) -m compat_tests.taskgroups_own $(COMPAT_ARGS)

compat-nest-asyncio: build
	$(RUN) -m compat_tests.nest_asyncio_own $(COMPAT_ARGS)

compat-tornado: build
	$(RUN) -m compat_tests.tornado_own $(COMPAT_ARGS)

bench: build
	@tools/venv.sh $(PYTHON) $(VENV) bench
	for script in benchmarks/bench_*.py; do \
		$(RUN) $$script $(BENCH_ARGS) || exit 1; \
	done

clean:
	rm -rf build dist *.egg-info .pytest_cache trio_asyncio_c/*.so
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-*
