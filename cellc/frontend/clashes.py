"""Messages for operands that do not fit, and for products that read in two ways."""

from __future__ import annotations

from cellc.diagnostics import Diagnostic, Related, Span, fail
from cellc.frontend.builder import Builder
from cellc.frontend.model import Model
from cellc.ir import TypeMismatch
from cellc.ir.types import shape_text
from cellc.syntax import tree


def check_reading(builder: Builder, call: tree.Call, args: list[str]) -> None:
    """Ask for brackets where ``U·r*h`` may mean (U·r)*h as well as U·(r*h)."""
    product = call.args[0]
    if call.function not in ("multiply", "divide") or not isinstance(product, tree.Call):
        return
    if product.function != "matmul" or product.bracketed:
        return
    inner = builder.nodes[builder.nodes[args[0]].args[1]].type.shape
    other = builder.nodes[args[1]].type.shape
    if not other or inner != other:
        return
    sign = "*" if call.function == "multiply" else "/"
    weight, vector = (_text(part) for part in product.args)
    factor = _text(call.args[1])
    fail(
        "ambiguous-product",
        f"`{_text(call)}` may be read in two ways, and both fit",
        call.span,
        hints=(
            f"write `({weight}·{vector}){sign}{factor}` to multiply the product",
            f"or `{weight}·({vector}{sign}{factor})` to multiply the vector",
        ),
    )


def clash(
    builder: Builder, model: Model, call: tree.Call, args: list[str], mismatch: TypeMismatch
) -> Diagnostic:
    """The message for operands that do not fit, with where each came from."""
    nodes = builder.nodes
    related = []
    for slot in mismatch.slots:
        shape = shape_text(nodes[args[slot]].type.shape)
        part = call.args[slot]
        origin = _origin(model, part)
        where = f"`{_text(part)}` is {shape}"
        related.append(Related(part.span, where))
        if origin is not None:
            related.append(Related(origin, f"`{_text(part)}` is defined here"))
    hints: tuple[str, ...] = ()
    if call.function == "multiply" and len(mismatch.slots) == 2:
        hints = ("`*` is elementwise; the matrix product is `·`",)
    elif call.function in ("add", "subtract"):
        hints = ("a product with a weight brings a vector to another size: `W·x`",)
    elif call.function == "matmul" and not nodes[args[1]].type.shape:
        hints = ("a vector is declared with its size, such as `state h[H]` or `input x[I]`",)
    return Diagnostic(
        "shape-clash",
        mismatch.message,
        call.span,
        related=tuple(related),
        hints=hints,
    )


def _origin(model: Model, part: tree.Expression) -> Span | None:
    if not isinstance(part, tree.Name):
        return None
    item = model.equations.get(part.name) or model.declarations.get(part.name)
    return None if item is None else item.span


def _text(expression: tree.Expression) -> str:
    """An expression as written, on one line."""
    return " ".join(expression.span.text.split())
