"""The examples of docs/ that show other libraries beside ours run where these are."""

from __future__ import annotations

import pytest

from ...meta.test_docs import EXAMPLES, OTHERS, run_example

BESIDE = {name: code for name, code in EXAMPLES.items() if OTHERS.search(code)}


@pytest.mark.parametrize("code", BESIDE.values(), ids=BESIDE)
def test_example(code):
    for package in OTHERS.findall(code):
        pytest.importorskip(package)
    run_example(code)
