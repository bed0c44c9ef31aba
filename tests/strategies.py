"""Random well-typed cells, as spec text, so that a failing one shrinks to something readable.

A cell is drawn in three parts: what it declares (here), its equations (``Writer``), and what
keeps it legal: whatever was declared and is not read is added to the output.
"""

from __future__ import annotations

import re

from hypothesis import strategies as st

from tests.expressions import Writer

OUTPUTS = (
    "y", "y, h'", "h', y", "y, prev(x)", "y, h, rate", "y, [p, x]", "y, sum(h')", "softmax(y)",
    "y, last(y)", "y, mean(y, time)", "0.5*y, tanh(y)", "h', 1 - y",
)  # fmt: skip
_ENTRIES = ("h", "P·x", "p", "P·[x, h]")
_STARTS = ("0.5", "0.1*h_0", "h_0*rate", "tanh(h_0)")


@st.composite
def specs(draw: st.DrawFn, kinks: bool = True) -> str:
    """The text of a cell named ``drawn``, whose states stay moderate.

    It has one to three states, of which the third may have its own size, a vector and perhaps
    a scalar, a held input and tokens, states that travel along layers, masks, structured
    weights, other cells inside it, and values of the whole sequence. Without ``kinks`` all
    of it is differentiable, for comparisons with numerical derivatives.
    """
    writer = Writer(draw, kinks)
    _declare(draw, writer)
    for block in (_layers, _memory, _halves, _after, _low_rank, _complement):
        if draw(st.integers(0, 5)) == 5:
            block(draw, writer)
    for number in range(draw(st.integers(0, 4))):
        shape = draw(st.sampled_from([s for s in ("H", "H", "N") if s in writer.names.values()]))
        name = f"v{number}"
        value = writer.bounded(shape, 2)
        if draw(st.integers(0, 7)) == 7:
            value = f"0.5*({value}) + 0.5*prev({name})"
        writer.equation(name, shape, value)
    _next_values(draw, writer)
    known = writer.lines
    writer.lines = [*known, f"y[H] = tanh(W·[x, h]){''.join(_rest(writer))}"]
    order = draw(st.permutations(writer.lines))
    emitted = draw(st.sampled_from(OUTPUTS))
    return "\n".join([*writer.head, *order, f"output {emitted}"]) + "\n"


def _declare(draw: st.DrawFn, writer: Writer) -> None:
    """Inputs, states, parameters and options."""
    scalar, held, tokens = (draw(st.integers(0, 2)) == 2 for _ in range(3))
    head, names = writer.head, writer.names
    head += ["cell drawn", "input x[I]" + (", t" if scalar else "")]
    states = draw(st.sampled_from(["h", "hc", "hcm", "hm"]))
    sized = "m" in states and draw(st.booleans())
    if sized:
        head.append("dim N slots")
    head += ["param p[H] shared", "option rate = 0.25"]
    start = draw(st.sampled_from(["", "", *_STARTS]))
    if "h_0" in start:
        head.append("param h_0[H]" + draw(st.sampled_from(["", " = normal(0, 1)"])))
    if held:
        head.append("input s[H] per sequence")
        start = draw(st.sampled_from([start, "tanh(P·s)", "0.5*s"]))
        if "h_0" in "".join(head) and "h_0" not in start:
            start += " + h_0"
    names |= {"h": "H", "x": "I"}
    head.append("state h[H]" + (f" = {start}" if start else ""))
    for state in states[1:]:
        names[state] = "N" if state == "m" and sized else "H"
        head.append(f"state {state}[{names[state]}]")
    names |= {"s": "H"} if held else {}
    names |= {"t": ""} if scalar else {}
    if tokens:
        head += ["dim V words", "input w integer", "param E[V, H] shared"]
        writer.equation("token", "H", "0.5*take(E, w)")


def _next_values(draw: st.DrawFn, writer: Writer) -> None:
    states = [name for name in ("h", "c", "m") if name in writer.names]
    for state in draw(st.permutations(states)):
        shape = writer.names[state]
        value = writer.bounded(shape, 3)
        if draw(st.booleans()):
            value = f"{value}*(0.9 - 0.1*exp(-rate))"
        if state == "h" and "state r[H] = last(h')" in writer.head:
            value = f"0.9*({value}) + 0.1*tanh(W·x)"
        writer.lines.append(f"{state}' = {value}")
        writer.names[f"{state}'"] = shape


def _rest(writer: Writer) -> list[str]:
    """Terms of the output that read all that nothing else reads."""
    found = []
    for name, shape in writer.names.items():
        if not _is_read(name, writer) and not name.endswith("'"):
            found.append({"H": f" + 0.1*{name}", "": f" + 0.1*{name}"}.get(
                shape, f" + 0.1*sum({name})"))  # fmt: skip
    text = "\n".join(writer.lines + writer.head)
    found += [" + 0.1*r'"] if "r'" in text else []
    found += [" + 0.1*p"] if not re.search(r"(?<!param )\bp\b", text) else []
    found += [" + rate"] if not re.search(r"(?<!option )\brate\b", text) else []
    return found


def _is_read(name: str, writer: Writer) -> bool:
    """Whether an equation other than a value's own, or a start, reads it."""
    sides = [line.split(" = ", 1) for line in writer.lines + writer.head if " = " in line]
    return any(
        re.search(rf"(?<![\w']){name}(?![\w'])", value) and not target.startswith(f"{name}[")
        for target, value in sides
    )


def _layers(draw: st.DrawFn, writer: Writer) -> None:
    """A state that travels along an axis, tied or not, of which the far side is used."""
    tied = draw(st.sampled_from(["", " tied"]))
    writer.head.append(f"axis depth[L] = {draw(st.integers(1, 3))}{tied}")
    writer.head.append(f"state a[H] along depth = {draw(st.sampled_from(_ENTRIES))}")
    inner = Writer(draw, writer.kinks, writer)
    inner.names["a"] = "H"
    writer.lines.append(f"a' = tanh({inner.expression('H', 2)} + a)")
    writer.equation("far", "H", "last(a')")


def _memory(draw: st.DrawFn, writer: Writer) -> None:
    """An associative memory, a state with two dimensions."""
    writer.head.append("state A[H, I]")
    key = writer.bounded("H", 1)
    writer.equation("key", "H", key)
    decay = draw(st.sampled_from(["0.5", "sigmoid(rate)"]))
    writer.lines.append(f"A' = {decay}*A + 0.1*outer(key, x)")
    writer.equation("read", "H", f"tanh({draw(st.sampled_from(['A', chr(65) + chr(39)]))}·x)")


def _halves(draw: st.DrawFn, writer: Writer) -> None:
    """One product that is split, as LSTMs write it."""
    count = draw(st.integers(2, 3))
    parts = [f"part{number}" for number in range(count)]
    bias = draw(st.sampled_from(["", " + b"]))
    writer.lines.append(f"joint[{count}*H] = W·{draw(st.sampled_from(['x', '[h, x]']))}{bias}")
    writer.lines.append(f"{', '.join(parts)} = split(joint)")
    for number, part in enumerate(parts):
        writer.equation(f"gate{number}", "H", f"{draw(st.sampled_from(['tanh', 'σ']))}({part})")


def _after(draw: st.DrawFn, writer: Writer) -> None:
    """A second loop, which starts with what the first one ends with."""
    writer.head.append("state r[H] = last(h')")
    seen = draw(st.sampled_from(["x", "reverse(x)", "h'"]))
    writer.lines.append(f"r' = tanh(W·{seen} + U·r)")


def _low_rank(draw: st.DrawFn, writer: Writer) -> None:
    """A product by a weight of low rank."""
    writer.head.append("dim R rank")
    operand = writer.operand()
    writer.lines.append(f"code[R] = P·{operand}")
    writer.equation("wide", "H", "0.5*(W·code)")


def _complement(draw: st.DrawFn, writer: Writer) -> None:
    """A coupled gate: one is what the other leaves."""
    writer.equation("open", "H", f"sigmoid({writer.expression('H', 1)})")
    writer.equation("shut", "H", "1 - open")
