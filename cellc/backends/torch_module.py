"""The methods of an emitted ``nn.Module``, one function each."""

from __future__ import annotations

import ast

from cellc.backends import docs, pyast
from cellc.backends.pyast import (
    Blank,
    Block,
    Item,
    Line,
    Remark,
    bare_or_tuple,
    lines,
    quote,
    quote_statements,
)
from cellc.backends.torch_emitter import TorchEmitter
from cellc.ir import AtOnce, Loop, Once, Region
from cellc.syntax.characters import ascii_name


def constructor(writer: TorchEmitter) -> Item:
    """The method that makes the parameters."""
    cell = writer.cell
    signature = ["self", *docs.signature(cell), "batch_first=False", "seed=None", "device=None",
                 "dtype=None"]  # fmt: skip
    names = [a.name for a in cell.dims.values()] + [writer.ids[o] for o in cell.options]
    params: list[Item] = []
    for param in cell.params:
        shape = writer.attribute(cell.nodes[param].type.shape)
        text = f"self.{ascii_name(param)} = nn.Parameter(torch.empty(shape, **factory))"
        params.append(Line(quote_statements(text, shape=shape)[0], writer.comment(param)))
    body = [
        *lines("super().__init__()"),
        *[line for n in [*names, "batch_first"] for line in lines(f"self.{n} = {n}")],
        *writer.dimension_lines([*writer.division_lines(), *params]),
        *writer.division_lines(),
        *lines("factory = {'device': device, 'dtype': dtype}"),
        *params,
        *lines("self.reset_parameters(seed)"),
    ]
    head = quote_statements(f"def __init__({', '.join(signature)}):\n    pass")[0]
    return Block(head, tuple(body))


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
    values = []
    for state in cell.states:
        shape, start = writer.state_shape(state, "batch"), writer.start_value(state)
        if start is None:
            values.append(quote("like.new_zeros(shape)", shape=shape))
        elif writer.number(cell.values("start")[state]) is not None:
            values.append(quote("like.new_full(shape, v)", shape=shape, v=start))
        else:
            values.append(quote("v.expand(shape)", shape=shape, v=start))
    text = "The state that sequences start with unless one is given."
    uses_like = "like" in pyast.names_in(Line(ast.Expr(value)) for value in values)
    likes = lines(
        """
        if like is None:
            like = next(self.parameters(), torch.empty(0))
        """
    )
    result = bare_or_tuple(ast.unparse(v) for v in values)
    head = quote_statements("def initial_state(self, batch, like=None):\n    pass")[0]
    text += " Its type and device\nare those of ``like``, by default of the parameters."
    core = [*(likes if uses_like else []), *lines(f"return {result}")]
    return Block(head, (pyast.docstring(text), *core))


def forward(writer: TorchEmitter) -> Item:
    """The method that takes sequences in any form and hands rows to ``_run``."""
    cell = writer.cell
    inputs = [writer.ids[name] for name in cell.inputs]
    rank, bare = len(cell.nodes[cell.inputs[0]].type.shape), len(cell.states) == 1
    body = [
        pyast.docstring(_forward_text(writer)),
        *_inputs_agree(inputs, rank),
        *_to_rows(inputs, rank),
        *_size_checks(writer),
        *_given_state(inputs[0], bare),
        *_state_checks(writer, bare),
        *lines(f"outputs, state = self._run({', '.join(inputs)}, sizes, "
               f"{'(state,)' if bare else 'state'})"),
        *_from_rows(len(cell.values("output")), bare),
    ]  # fmt: skip
    head = quote_statements(f"def forward(self, {', '.join(inputs)}, state=None):\n    pass")[0]
    return Block(head, tuple(body))


def _inputs_agree(inputs: list[str], rank: int) -> list[Item]:
    """A clear error where several inputs are not of one batch."""
    first, *others = inputs
    if not others:
        return []
    return lines(
        f"""
        for other in ({", ".join(others)},):
            if isinstance({first}, PackedSequence):
                same = torch.equal(other.batch_sizes, {first}.batch_sizes)
                if {first}.sorted_indices is not None:
                    same = same and torch.equal(other.sorted_indices, {first}.sorted_indices)
            else:
                lead = {first}.dim() - {rank}
                same = other.shape[:lead] == {first}.shape[:lead]
            if not same:
                raise ValueError('inputs differ in steps, batch or lengths')
        """
    )


def _to_rows(inputs: list[str], rank: int) -> list[Item]:
    """Packed, batched and single sequences become rows and their ``sizes``."""
    first = inputs[0]

    def every(change: str) -> str:
        return "; ".join(f"{x} = {x}.{change}" for x in inputs)

    return lines(
        f"""
        packed = {first} if isinstance({first}, PackedSequence) else None
        batched = packed is not None or {first}.dim() == {rank + 2}
        if packed is not None:
            sizes = packed.batch_sizes.tolist()
            {every("data")}
        else:
            if not batched:
                {every("unsqueeze(1)")}
            elif self.batch_first:
                {every("transpose(0, 1)")}
            sizes = [{first}.shape[1]] * {first}.shape[0]
            {every("flatten(0, 1)")}
        """
    )


def _given_state(first: str, bare: bool) -> list[Item]:
    """The state in the order of the rows, with a batch."""
    return lines(
        f"""
        if not sizes:
            raise ValueError('a sequence needs at least one step')
        if state is None:
            state = self.initial_state(sizes[0], {first})
        elif packed is not None and packed.sorted_indices is not None:
            state = {_each(bare, "value.index_select(0, packed.sorted_indices)")}
        elif not batched:
            state = {_each(bare, "value.unsqueeze(0)")}
        """
    )


def _from_rows(outputs: int, bare: bool) -> list[Item]:
    """Outputs in the form of the inputs, the state in the caller's order."""
    single, state = "outputs[0]" if outputs == 1 else "tuple(outputs)", "tuple(state)"
    repack = "rows, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices"
    return lines(
        f"""
        if packed is not None:
            outputs = [PackedSequence({repack}) for rows in outputs]
            if packed.unsorted_indices is not None:
                state = [value.index_select(0, packed.unsorted_indices) for value in state]
        else:
            outputs = [rows.reshape(len(sizes), sizes[0], *rows.shape[1:]) for rows in outputs]
            if not batched:
                outputs = [value.squeeze(1) for value in outputs]
                state = [value.squeeze(0) for value in state]
            elif self.batch_first:
                outputs = [value.transpose(0, 1) for value in outputs]
        return {single}, {"state[0]" if bare else state}
        """
    )


def _state_checks(writer: TorchEmitter, bare: bool) -> list[Item]:
    """A clear error for a state of the wrong shape; torch's has a dimension of layers."""
    states = writer.cell.states
    shapes = [ast.unparse(writer.state_shape(state, "sizes[0]")) for state in states]
    given = "(state,)" if bare else "state"
    names = [writer.ids[state] for state in states]
    return lines(
        f"""
        for name, value, shape in zip({names!r}, {given}, ({", ".join(shapes)},), strict=True):
            if value.shape != shape:
                wrong = tuple(value.shape)
                raise ValueError(f'the state {{name}} has the shape {{wrong}}, not {{shape}}')
        """
    )


def _each(bare: bool, change: str) -> str:
    """A change made to the one state or to all of them."""
    return change.replace("value", "state") if bare else f"[{change} for value in state]"


def _size_checks(writer: TorchEmitter) -> list[Item]:
    """Clear errors for inputs of the wrong size."""
    checks: list[Item] = []
    for name in writer.cell.inputs:
        shape = writer.cell.nodes[name].type.shape
        if not shape:
            continue
        x, sizes = writer.ids[name], quote(
            f"({', '.join(ast.unparse(writer.size(dim)) for dim in shape)},)")  # fmt: skip
        checks += lines(
            f"""
            if {x}.shape[1:] != sizes:
                raise ValueError(f'{x} has the size {{tuple({x}.shape[1:])}}, not {{sizes}}')
            """,
            sizes=sizes,
        )
    return checks


def _forward_text(writer: TorchEmitter) -> str:
    cell = writer.cell
    return "\n".join([
        "Run sequences through the cell.",
        "",
        "Arguments:",
        *docs.shape_lines(cell, cell.inputs, "T, B"),
        "    state: as returned, or None to start afresh.",
        "",
        "Inputs may lack the batch, be batch first if the module is, or be PackedSequences.",
        "Returns the outputs in the same form and the state after each sequence's last step:",
        *docs.shape_lines(cell, cell.states, "B"),
        "",
    ])  # fmt: skip


def run(writer: TorchEmitter) -> Item:
    """The method with the cell's mathematics, over rows."""
    cell = writer.cell
    inputs = [writer.ids[name] for name in cell.inputs]
    states = [writer.ids[name] for name in cell.states]
    once: list[Item] = []
    later: list[Item] = []
    for region in writer.schedule.regions:
        writer.region = region
        if isinstance(region, Once):
            once += writer.statements(region)
        else:
            later += _region(writer, region)
    writer.region = None
    outputs = [ast.unparse(_output(writer, v)) for v in cell.values("output").values()]
    later += lines(f"return ({', '.join(outputs)},), ({''.join(f'{s}, ' for s in states)})")
    once = [*writer.numbers.values(), *once, *writer.hoisted.values()]
    core: list[Item] = [Remark("once per call"), *once, *later] if once else later
    if states:
        core = [*lines(f"{', '.join(states)}{',' if len(states) == 1 else ''} = state"), *core]
    body = [
        pyast.docstring("Run rows: all steps of all sequences, ``sizes`` rows for each step."),
        *writer.dimension_lines(core),
        *core,
    ]
    head = f"def _run(self, {', '.join(inputs)}, sizes, state):\n    pass"
    return Block(quote_statements(head)[0], tuple(body))


def _region(writer: TorchEmitter, region: Region) -> list[Item]:
    if isinstance(region, Loop):
        return [Remark("step by step, because each step needs the one before"),
                *writer.loop(region)]  # fmt: skip
    if isinstance(region, AtOnce):
        found = writer.statements(region)
        return [Remark("for all steps at once"), *found] if found else []
    return []


def _output(writer: TorchEmitter, name: str) -> ast.expr:
    value = writer.reference(name)
    return value if writer.cell.nodes[name].type.extent else writer.spread(name, value)


def extra_repr(writer: TorchEmitter) -> Item:
    """The method that says the sizes when the module is printed."""
    cell = writer.cell
    names = [a.name for a in cell.dims.values()] + [writer.ids[o] for o in cell.options]
    text = ", ".join(f"{name}={{self.{name}}}" for name in [*names, "batch_first"])
    return Block(quote_statements("def extra_repr(self):\n    pass")[0],
                 tuple(lines(f"return f{text!r}")))  # fmt: skip
