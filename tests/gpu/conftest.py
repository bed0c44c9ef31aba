"""What all tests of this package have."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

#: Kernels are written in Triton, which is not to be had for every machine.
collect_ignore_glob = [] if find_spec("triton") else ["test_*.py"]
#: Where a mask keeps lanes out, NumPy computes with their zeros all the same, and tells.
HARMLESS = (
    "ignore:divide by zero encountered:RuntimeWarning:triton.runtime.interpreter",
    "ignore:invalid value encountered:RuntimeWarning:triton.runtime.interpreter",
    "ignore:Conversion of an array with ndim:DeprecationWarning:triton.runtime.interpreter",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.filterwarnings(*HARMLESS))


@pytest.fixture(autouse=True, scope="session")
def _products_of_bfloat16() -> Any:
    """Triton's interpreter multiplies the bits of bfloat16 numbers as if these were integers."""
    if torch.cuda.is_available() or find_spec("triton") is None:
        yield
        return
    interpreter = pytest.importorskip("triton.runtime.interpreter")
    tl = pytest.importorskip("triton.language")
    builder = interpreter.InterpreterBuilder
    create_dot = builder.create_dot

    def widened(value: Any) -> Any:
        if value.dtype.scalar != tl.bfloat16:
            return value
        bits = value.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), tl.float32)

    def dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return create_dot(self, widened(a), widened(b), *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "create_dot", dot)
        yield
