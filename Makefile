PYTHON ?= python3
.PHONY: setup
setup:
	@$(PYTHON) toolchain/bootstrap.py
