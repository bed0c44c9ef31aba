"""The method of an emitted ``nn.Module`` that runs loops along anti-diagonals."""

from __future__ import annotations

import ast

from cellc.backends import pyast
from cellc.backends.pyast import Block, Item, lines, quote_statements
from cellc.backends.torch_emitter import TorchEmitter
from cellc.backends.torch_method import Method
from cellc.ir import TIME, Diagonals


def method(
    writer: TorchEmitter, inner: TorchEmitter, diagonals: Diagonals, called: Method
) -> Method:
    """The method that gives each loop its inputs late, and takes outputs and states apart."""
    text = "Run rows along diagonals: each loop some steps behind those that it reads."
    states = [writer.ids[state] for state in writer.cell.states]
    own = [*writer.cell.inputs, *writer.draws]
    arguments = [*(writer.ids[name] for name in own), "sizes"]
    body: list[Item] = [
        pyast.docstring(text),
        *lines(f"{', '.join([*states, ''])} = state" if len(states) == 1 else
               f"{', '.join(states)} = state"),
        *_given_states(writer, inner, diagonals),
        *_call(writer, inner, diagonals, called),
        *_taken_apart(writer, diagonals),
        *lines(f"outputs = tuple(rows[{diagonals.last} * sizes[0]:] for rows in outputs)"),
        *lines(f"return (outputs, ({', '.join([*states, ''])}))"),
    ]  # fmt: skip
    head = f"def _run(self, {', '.join(arguments)}, state):\n    pass"
    return Method("_run", tuple(arguments), Block(quote_statements(head)[0], tuple(body)))


def _given_states(writer: TorchEmitter, inner: TorchEmitter, diagonals: Diagonals) -> list[Item]:
    """The states of the loop, stacked; those that only wait start with zeros."""
    first = writer.ids[writer.cell.states[0]]
    given = []
    for state, parts in diagonals.states.items():
        names = [writer.ids[part] for part in parts]
        if not parts:
            shape = ast.unparse(inner.state_shape(state, f"len({first})"))
            given.append(f"{first}.new_zeros({shape})")
        else:
            given.append(names[0] if len(names) == 1 else f"torch.stack(({', '.join(names)}), 1)")
    return lines(f"state = ({', '.join([*given, ''])})")


def _call(
    writer: TorchEmitter, inner: TorchEmitter, diagonals: Diagonals, called: Method
) -> list[Item]:
    """The call of the loop, with inputs of as many steps before as each is to have."""
    last = diagonals.last
    passed = {"sizes": f"[sizes[0]] * {last} + sizes", "packed": "None"}
    for name in (*inner.cell.inputs, *inner.draws):
        source, lag = diagonals.inputs.get(name, (name, 0))
        value = writer.ids[source]
        lags = TIME in inner.cell.nodes[name].type.extent
        passed[inner.ids[name]] = f"lagging({value}, sizes, {lag}, {last})" if lags else value
    arguments = ", ".join(passed[name] for name in called.arguments)
    return lines(f"outputs, state = self.{called.name}({arguments}, state)")


def _taken_apart(writer: TorchEmitter, diagonals: Diagonals) -> list[Item]:
    """The final states of the loop by the names that the cell has for them."""
    items: list[Item] = []
    for place, parts in enumerate(diagonals.states.values()):
        names = ", ".join(writer.ids[part] for part in parts)
        apart = ".unbind(1)" if len(parts) > 1 else ""
        items += lines(f"{names} = state[{place}]{apart}") if parts else []
    return items
