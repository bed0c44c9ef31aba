"""Random well-typed cells, as spec text, so that a failing one shrinks to something readable."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

#: Functions of one value that stay smooth and small, so that comparisons stay sharp.
UNARY = ("sigmoid", "tanh", "sin", "cos", "softplus", "-", "standardize", "softmax", "abs", "relu")
BINARY = ("+", "-", "*", "max", "min")
KINDS = (
    "product", "unary", "binary", "gate", "where", "prev", "leaf", "structured", "mask", "applied",
)  # fmt: skip

#: What the whole sequence must be known for.
WHOLE = ("reverse(x)", "last(x)", "first(x)", "mean(x, time)")


@dataclass
class Draft:
    """A spec under construction: what may be named, and what has not been used yet."""

    names: list[str]
    head: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    weights: int = 0


@st.composite
def specs(draw: st.DrawFn) -> str:
    """The text of a cell with one or two states, a vector, a scalar and a held input.

    Some have states that travel along layers, masks, structured weights, other cells inside
    them, and values of the whole sequence.
    """
    states = draw(st.sampled_from([["h"], ["h", "c"]]))
    scalar, held = draw(st.booleans()), draw(st.booleans())
    draft = Draft([*states, "x"])
    head = draft.head
    head += ["cell drawn", "input x[I]" + (", t" if scalar else "")]
    head.append("state " + ", ".join(f"{s}[H]" for s in states))
    head.append("param p[H] shared")
    head.append("option rate = 0.25")
    draft.unused += ["p"] + (["t"] if scalar else [])
    if held:
        head.append("input s[H] per sequence")
        draft.names.append("s")
        draft.unused.append("s")
    if draw(st.integers(0, 3)) == 0:
        draw(layers(draft))
    for number in range(draw(st.integers(0, 4))):
        name = f"v{number}"
        draft.lines.append(f"{name} = {draw(vectors(draft, 2, name))}")
        draft.names.append(name)
        draft.unused.append(name)
    for state in states:
        target = f"{state}'"
        bare = draw(st.booleans()) and state != states[-1]
        whole = states[-1]
        if not bare:
            whole = f"tanh({draw(vectors(draft, 2, state))})*(0.9 - 0.1*exp(-rate))"
        draft.lines.append(f"{target} = {whole}")
        draft.names.append(target)
    rest = " + ".join(f"0.1*{name}" for name in dict.fromkeys(draft.unused))
    draft.lines.append(f"y[H] = tanh(W·[x, h]) + {rest}")
    order = draw(st.permutations(draft.lines))
    emitted = draw(st.sampled_from(["y", "y, h'", "y, prev(x)", "y, h, rate", "y, [p, x]"]))
    return "\n".join([*head, *order, f"output {emitted}"]) + "\n"


@st.composite
def layers(draw: st.DrawFn, draft: Draft) -> None:
    """A state that travels along an axis, tied or not, of which the far side is used."""
    tied = draw(st.sampled_from(["", " tied"]))
    entry = draw(st.sampled_from(["h", "P·x", "p", "P·[x, h]"]))
    draft.head.append(f"axis depth[L] = {draw(st.integers(1, 3))}{tied}")
    draft.head.append(f"state a[H] along depth = {entry}")
    inner = Draft([*draft.names, "a"], draft.head, draft.lines, draft.unused, 100)
    draft.lines.append(f"a' = tanh({draw(vectors(inner, 2, 'a'))} + a)")
    draft.lines.append("far = last(a')")
    draft.names.append("far")
    draft.unused.append("far")


@st.composite
def vectors(draw: st.DrawFn, draft: Draft, depth: int, target: str) -> str:
    """An expression of shape [H]."""
    known = [name for name in draft.names if name != "x"]
    if depth == 0:
        return draw(st.sampled_from([*known, "p"]))
    kind = draw(st.sampled_from(KINDS))
    if kind == "product":
        draft.weights += 1
        number = draft.weights
        operand = draw(st.sampled_from(["x", *known, "[h, x]", f"({known[0]}*p)", *WHOLE]))
        bias = draw(st.sampled_from(["", f" + b_{number}"]))
        return f"(W_{number}·{operand}{bias})"
    if kind == "unary":
        function = draw(st.sampled_from(UNARY))
        inner = draw(vectors(draft, depth - 1, target))
        return f"(-({inner}))" if function == "-" else f"{function}({inner})"
    if kind == "binary":
        function = draw(st.sampled_from(BINARY))
        a, b = (draw(vectors(draft, depth - 1, target)) for _ in range(2))
        return f"{function}({a}, {b})" if function.isalpha() else f"(({a}) {function} ({b}))"
    if kind == "gate":
        gate, a, b = (draw(vectors(draft, depth - 1, target)) for _ in range(3))
        draft.weights += 1
        name = f"k{draft.weights}"
        draft.lines.append(f"{name} = sigmoid({gate})")
        return f"({name}*({a}) + (1 - {name})*({b}))"
    if kind == "structured":
        draft.weights += 1
        structure = draw(st.sampled_from(["diagonal", "block_diagonal(2)", "sparse(0.5)"]))
        draft.head.append(f"param D_{draft.weights} {structure}")
        return f"(D_{draft.weights}·{draw(st.sampled_from(known))})"
    if kind == "mask":
        form = draw(st.sampled_from(["dropout(0.1*h + {}, rate{per})",
                                     "zoneout({}, 0.1*h + {}, 0.3{per})",
                                     "training({}, {})"]))  # fmt: skip
        values = [draw(vectors(draft, depth - 1, target)) for _ in range(form.count("{}"))]
        return form.format(*values, per=draw(st.sampled_from(["", ", per=sequence"])))
    if kind == "applied":
        form = draw(st.sampled_from(["rnn({})", "lstm({})", "lstm_transform({}, {})"]))
        values = [draw(vectors(draft, depth - 1, target)) for _ in range(form.count("{}"))]
        return form.format(*values)
    if kind == "where":
        a, b = (draw(vectors(draft, depth - 1, target)) for _ in range(2))
        return f"where({draw(st.sampled_from(known))} < 0.25, {a}, {b})"
    if kind == "prev":
        lag = draw(st.integers(1, 2))
        return f"prev({draw(st.sampled_from([n for n in known if len(n) == 1]))}, {lag})"
    return draw(st.sampled_from([*known, "p"]))
