"""The methods of an emitted ``nn.Module`` around its call: parameters, starts, kept states."""

from __future__ import annotations

import ast

from cellc.backends import docs, pyast
from cellc.backends.pyast import (
    Blank,
    Block,
    Item,
    Line,
    bare_or_tuple,
    lines,
    quote,
    quote_statements,
)
from cellc.backends.torch_emitter import TorchEmitter
from cellc.syntax.characters import ascii_name


def constructor(writer: TorchEmitter) -> Item:
    """The method that makes the parameters."""
    cell = writer.cell
    signature = ["self", *docs.signature(cell), "batch_first=False", "seed=None", "device=None",
                 "dtype=None"]  # fmt: skip
    names = [a.name for a in writer.arguments] + [writer.ids[o] for o in cell.options]
    params: list[Item] = []
    for param in cell.params:
        shape = writer.attribute(cell.nodes[param].type.shape)
        text = f"self.{ascii_name(param)} = nn.Parameter(torch.empty(shape, **factory))"
        if is_frozen(writer, param):
            text = f"self.register_buffer('{ascii_name(param)}', torch.empty(shape, **factory))"
        params.append(Line(quote_statements(text, shape=shape)[0], writer.comment(param)))
    body = [
        *lines("super().__init__()"),
        *[line for n in [*names, "batch_first"] for line in lines(f"self.{n} = {n}")],
        *writer.dimension_lines([*writer.division_lines(), *params]),
        *writer.division_lines(),
        *lines("factory = {'device': device, 'dtype': dtype}"),
        *params,
        *(lines("self._kept = self._fresh = None") if writer.kept else []),
        *lines("self.reset_parameters(seed)"),
    ]
    head = quote_statements(f"def __init__({', '.join(signature)}):\n    pass")[0]
    return Block(head, tuple(body))


def is_frozen(writer: TorchEmitter, param: str) -> bool:
    """Whether a parameter is drawn like the others and never learnt: a buffer."""
    return bool(dict(writer.cell.nodes[param].attrs).get("frozen"))


def reset(writer: TorchEmitter) -> Item:
    """The method that gives parameters their initial values."""
    cell, writer.constructing = writer.cell, True
    values: list[Item] = []
    for param in writer.initial_order():
        value = cell.values("initial")[param]
        if writer.number(value) is not None:
            call = quote(f"self.{ascii_name(param)}.fill_(v)", v=writer.initial_value(value))
        else:
            call = quote(f"self.{ascii_name(param)}.copy_(v)", v=writer.initial_value(value))
        values.append(Line(ast.Expr(call)))
    values = [*writer.initial_numbers(), *values]
    writer.constructing = False
    uses_draw = "draw" in pyast.names_in(values)
    draw = [
        *lines("if seed is None:\n    seed = torch.randint(2**31, ()).item()"),
        Blank(),
        *lines("def draw(label):\n    return torch.Generator().manual_seed("
               "zlib.crc32(f'{seed}/{label}'.encode()))"),
        Blank(),
        *lines("real = torch.float64"),
    ]  # fmt: skip
    body = [
        pyast.docstring(
            "Give every parameter its initial value, drawn from the seed and its name."
        ),
        *writer.dimension_lines(values),
        *(draw if uses_draw else lines("real = torch.float64")),
        *values,
    ]
    head = "@torch.no_grad()\ndef reset_parameters(self, seed=None):\n    pass"
    return Block(quote_statements(head)[0], tuple(body))


def initial_state(writer: TorchEmitter) -> Item:
    """The method that gives the state sequences start with."""
    cell = writer.cell
    values: list[ast.expr] = []
    for state in cell.states:
        if state in writer.computed:
            values.append(ast.Constant(None))
            continue
        shape, start = writer.state_shape(state, "batch"), writer.start_value(state)
        if start is None:
            values.append(quote("like.new_zeros(shape)", shape=shape))
        elif writer.number(cell.values("start")[state]) is not None:
            values.append(quote("like.new_full(shape, v)", shape=shape, v=start))
        else:
            values.append(quote("v.expand(shape)", shape=shape, v=start))
    text = "The state that sequences start with unless one is given."
    uses_like = "like" in pyast.names_in(Line(ast.Expr(value)) for value in values)
    default = "next(self.parameters(), torch.empty(0))"
    if any(is_frozen(writer, param) for param in cell.params):
        default = f"self.{ascii_name(cell.params[0])}"
    likes = lines(f"if like is None:\n    like = {default}")
    result = bare_or_tuple(ast.unparse(v) for v in values)
    head = quote_statements("def initial_state(self, batch, like=None):\n    pass")[0]
    text += " Its type and device\nare those of ``like``, by default of the parameters."
    if writer.computed:
        text += "\nNone stands for a start that a call computes."
    core = [*(likes if uses_like else []), *lines(f"return {result}")]
    return Block(head, (pyast.docstring(text), *core))


def kept_states(writer: TorchEmitter) -> list[Item]:
    """The methods of a cell that carries on from the call before; none where it does not."""
    return [_carried_on(writer), _forget(writer)] if writer.kept else []


def _carried_on(writer: TorchEmitter) -> Item:
    """The method that gives what a call without a state starts from."""
    states, kept = writer.cell.states, writer.kept
    names = [writer.ids[state] for state in states]
    body = [
        pyast.docstring("What a call without a state starts from: where the call before ended."),
        *lines(
            f"""
            {", ".join(names)} = self.initial_state(batch, like)
            if self._kept is None:
                return {bare_or_tuple(names)}
            kept = [value.to(like) for value in self._kept]
            if len(kept[0]) != batch:
                raise ValueError(f'the kept state is of {{len(kept[0])}} sequences, not {{batch}}; '
                                 'reset_state() forgets it')
            """
        ),
    ]
    for place, state in enumerate(kept):
        name = writer.ids[state]
        if state in writer.computed:
            body += lines(f"{name} = kept[{place}]")
            continue
        ones = len(writer.cell.nodes[state].type.shape)
        fresh = f"self._fresh.view({', '.join(['-1', *['1'] * ones])})"
        body += lines(
            f"{name} = kept[{place}] if self._fresh is None "
            f"else torch.where({fresh}, {name}, kept[{place}])"
        )
    body += lines(f"return {bare_or_tuple(names)}")
    head = quote_statements("def _carried_on(self, batch, like):\n    pass")[0]
    return Block(head, tuple(body))


def _forget(writer: TorchEmitter) -> Item:
    """The method that makes a call start afresh."""
    computed = [state for state in writer.kept if state in writer.computed]
    refused = (
        f"raise ValueError('the start of {writer.ids[computed[0]]} is computed; "
        "reset_state() forgets all sequences')"
        if computed
        else """fresh = torch.as_tensor(which, dtype=torch.bool, device=self._kept[0].device)
            if fresh.shape != self._kept[0].shape[:1]:
                raise ValueError(f'the kept state is of {len(self._kept[0])} sequences')
            self._fresh = fresh if self._fresh is None else fresh | self._fresh"""
    )
    text = """Forget where the call before ended, so that the next one starts afresh.

``which`` is a boolean (B,): the sequences that start afresh, by default all.
"""
    core = lines(
        f"""
        if which is None:
            self._kept = self._fresh = None
        elif self._kept is not None:
            {refused}
        """
    )
    head = quote_statements("def reset_state(self, which=None):\n    pass")[0]
    return Block(head, (pyast.docstring(text), *core))


def extra_repr(writer: TorchEmitter) -> Item:
    """The method that says the sizes when the module is printed."""
    cell = writer.cell
    names = [a.name for a in writer.arguments] + [writer.ids[o] for o in cell.options]
    text = ", ".join(f"{name}={{self.{name}}}" for name in [*names, "batch_first"])
    return Block(quote_statements("def extra_repr(self):\n    pass")[0],
                 tuple(lines(f"return f{text!r}")))  # fmt: skip
