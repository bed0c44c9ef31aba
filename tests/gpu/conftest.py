"""What all tests of this package have."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Where a mask keeps lanes out, NumPy computes them all the same, and warns of zeros there.
HARMLESS = "ignore:divide by zero encountered:RuntimeWarning:triton.runtime.interpreter"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.filterwarnings(HARMLESS))
