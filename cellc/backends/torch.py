"""The Torch backend: an ``nn.Module`` with the manners of ``nn.LSTM``.

Sequences are run as rows: the steps of all sequences one below the other, longest
sequence first, which is how a PackedSequence holds them. ``sizes`` says how many rows
each step has, so that a sequence that has ended costs nothing and keeps its state.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from cellc.backends import docs, pyast, torch_cells
from cellc.backends.base import Emitter, class_name
from cellc.backends.pyast import Blank, Block, Item, Line, Remark, lines, quote, quote_statements
from cellc.backends.spelling import Speller
from cellc.diagnostics import Diagnostic, CellcError
from cellc.ir import AtConstruction, AtOnce, Cell, Dim, Loop, Once, Region, Schedule
from cellc.syntax.characters import ascii_name

SPELLER = Speller("torch", "torch")

_RESERVED = (
    "torch", "nn", "F", "Tensor", "PackedSequence", "math", "zlib", "self", "state", "sizes",
    "rows", "ended", "packed", "batched", "draw", "seed", "real", "device", "dtype", "batch_first",
    "steps", "parts", "output",
)  # fmt: skip

#: Attributes of every ``nn.Module``, which no parameter may be called.
MODULE_ATTRIBUTES = frozenset(
    """T_destination add_module apply bfloat16 batch_first buffers call_super_init children
    compile cpu cuda device double dtype dump_patches eval extra_repr float forward get_buffer
    get_extra_state get_parameter get_submodule half initial_state ipu load_state_dict modules
    mtia named_buffers named_children named_modules named_parameters parameters
    register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    reset_parameters set_extra_state set_submodule share_memory state_dict to to_empty to_torch
    train training type xpu zero_grad""".split()
)


class TorchEmitter(Emitter):
    """Writes regions over rows; weights used in a loop are transposed before it."""

    reserved = _RESERVED

    def __init__(self, schedule: Schedule, speller: Speller) -> None:
        super().__init__(schedule, speller)
        self.hoisted: dict[str, Line] = {}
        self.constructing = False
        self.splits = _splits(self)
        self.pieces = {piece for pieces in self.splits.values() for piece in pieces}

    def param(self, name: str) -> ast.expr:
        return quote(f"self.{ascii_name(name)}")

    def is_inline(self, name: str) -> bool:
        return name not in self.pieces and super().is_inline(name)

    def call_argument(self, name: str, value: ast.expr) -> ast.expr:
        if self.constructing:
            return quote("torch.tensor(v, dtype=real)", v=value)
        tensor = f"number_{len(self.hoisted) + 1}"
        like = self.ids[self.cell.inputs[0]]
        for known, line in self.hoisted.items():
            if ast.unparse(line.statement).endswith(f".new_tensor({ast.unparse(value)})"):
                return pyast.name(known)
        made = pyast.assign(tensor, quote(f"{like}.new_tensor(v)", v=value))
        self.hoisted[tensor] = Line(made, self.origin([name]))
        return pyast.name(tensor)

    def spread(self, name: str, value: ast.expr) -> ast.expr:
        count = "rows" if isinstance(self.region, Loop) else f"len({self.ids[self.cell.inputs[0]]})"
        return quote(f"v.expand({count}, *v.shape)", v=value)

    def spelled(self, name: str) -> ast.expr:
        value = super().spelled(name)
        if isinstance(self.region, Loop):
            value = _Transposed(self).visit(value)
        return value

    def statement(self, name: str) -> list[Item]:
        """A value and, where slices take it apart, the one statement that does so."""
        if name in self.pieces:
            return []
        found = super().statement(name)
        if name in self.splits:
            pieces = self.splits[name]
            found.append(Line(pyast.assign([self.ids[p] for p in pieces], self._split(name)),
                              self.comment(*pieces)))  # fmt: skip
        return found

    def _split(self, name: str) -> ast.expr:
        pieces = self.splits[name]
        shapes = [self.cell.nodes[piece].type.shape for piece in pieces]
        axis, whole = -len(shapes[0]), pyast.name(self.ids[name])
        if len(set(shapes)) == 1:
            return quote("whole.chunk(count, axis)", whole=whole, count=len(pieces), axis=axis)
        sizes = ast.Tuple([self.attribute(shape[0]) for shape in shapes], ast.Load())
        return quote("whole.split(sizes, axis)", whole=whole, sizes=sizes, axis=axis)

    def shift(self, name: str) -> list[Item]:
        following = self.cell.values("next")[name]
        value = self.reference(following)
        if self.cell.nodes[following].type.extent < self.cell.nodes[name].type.extent:
            value = self.spread(following, value)
        self.helpers["shifted"] = _SHIFTED
        state = self.ids[name]
        call = quote("shifted(v, s, sizes)", v=value, s=state)
        return [Line(pyast.assign([self.whole(name), state], call), self.comment(name))]

    def loop(self, region: Loop) -> list[Item]:
        """The loop over steps; sequences leave it as they end."""
        kept = self.needed_later(region)
        carried = [self.ids[state] for state in region.carries]
        core = self.statements(region)
        nexts = self.cell.values("next")
        following = [ast.unparse(self.reference(nexts[state])) for state in region.carries]
        core += [
            line for n in kept for line in lines(f"{self.ids[n]}_steps.append({self.ids[n]})")
        ]
        core += lines(f"{', '.join(carried)} = {', '.join(following)}")
        targets = ["rows", *self.steps_used.values()]
        splits = [f"{self.whole(n)}.split(sizes)" for n in self.steps_used]
        over = f"zip({', '.join(['sizes', *splits])})" if splits else "sizes"
        self.steps_used = {}
        head = quote_statements(f"for {', '.join(targets)} in {over}:\n    pass")[0]
        left = ", ".join(f"{s}[rows:]" for s in carried)
        stay = ", ".join(f"{s}[:rows]" for s in carried)
        names = ", ".join(carried)
        leave = lines(
            f"""
            if rows < len({carried[0]}):
                ended.append(({left},))
                {names} = {stay}
            """
        )
        before = [line for n in kept for line in lines(f"{self.ids[n]}_steps = []")]
        after = [line for n in kept for line in lines(
            f"{self.whole(n)} = torch.cat({self.ids[n]}_steps)")]  # fmt: skip
        comma = "," if len(carried) == 1 else ""
        after += lines(
            f"""
            if ended:
                {names}{comma} = (torch.cat(parts) for parts in zip(({names},), *reversed(ended)))
            """
        )
        remark = Remark("sequences that have ended leave with their state")
        return [*lines("ended = []"), *before, Block(head, (remark, *leave, *core)), *after]


class _Transposed(ast.NodeTransformer):
    """Replaces ``W.T`` in a loop by a variable that is set before it."""

    def __init__(self, emitter: TorchEmitter) -> None:
        self.emitter = emitter

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if node.attr != "T" or not isinstance(node.value, (ast.Name, ast.Attribute)):
            return node
        weight = ast.unparse(node.value)
        name = f"{weight.removeprefix('self.')}_T"
        self.emitter.hoisted.setdefault(
            name, Line(pyast.assign(name, quote(f"{weight}.T")), "transposed once")
        )
        return pyast.name(name)


def _splits(emitter: TorchEmitter) -> dict[str, list[str]]:
    """Values that slices of their own region take apart without a rest, with the slices."""
    cell, found = emitter.cell, {}
    for name, node in cell.nodes.items():
        users = list(cell.graph.successors(name))
        slices = [u for u in users if cell.nodes[u].op.name == "slice"
                  and "axis" not in dict(cell.nodes[u].attrs)
                  and emitter.region_of.get(u) is emitter.region_of.get(name)]  # fmt: skip
        if len(slices) < 2 or node.op.leaf:
            continue
        starts = {cell.nodes[u].attr("start"): u for u in slices}
        place, ordered = Dim.of(0), []
        while place in starts:
            ordered.append(starts[place])
            stop = cell.nodes[ordered[-1]].attr("stop")
            assert isinstance(stop, Dim)
            place = stop
        if place == node.type.shape[0] and len(ordered) == len(slices):
            found[name] = ordered
    return found


_SHIFTED = '''
def shifted(value, first, sizes):
    """The rows of the step before, ``first`` at the start, and each sequence's last row."""
    steps = value.split(sizes)
    before = torch.cat([first, *(step[:rows] for step, rows in zip(steps, sizes[1:]))])
    ends = zip(reversed(steps), [0, *reversed(sizes[1:])])
    return before, torch.cat([step[rows:] for step, rows in ends])
'''


def emit(schedule: Schedule, source: Cell) -> str:
    """The text of a file with one ``nn.Module``.

    ``source`` is the cell as it was written, for documentation and for recognising
    torch's own cells. Raises CellcError ``reserved-name`` for a parameter that would
    hide an attribute of ``nn.Module``.
    """
    _check_names(source)
    writer = TorchEmitter(schedule, SPELLER)
    run = _run(writer)
    twin = torch_cells.twin_of(source)
    methods = [
        _constructor(writer),
        _reset(writer),
        _initial_state(writer),
        _forward(writer),
        run,
        *([torch_cells.loader(twin), torch_cells.exporter(twin)] if twin is not None else []),
        _extra_repr(writer),
    ]
    body: list[Item] = [pyast.docstring(_class_text(writer, twin))]
    for method in methods:
        body += [Blank(), method]
    rest: list[Item] = [Blank(2)]
    for helper in writer.helpers.values():
        rest += [*lines(helper), Blank(2)]
    rest.append(Block(quote_statements(f"class {class_name(source.name)}(nn.Module):\n    pass")[0],
                      tuple(body)))  # fmt: skip
    used = pyast.names_in(rest)
    imports = [
        *(lines("import math") if "math" in used else []),
        *lines("import zlib"),
        Blank(),
        *lines("import torch"),
        *(lines("import torch.nn.functional as F") if "F" in used else []),
        *lines("from torch import nn\nfrom torch.nn.utils.rnn import PackedSequence"),
    ]
    return pyast.write([pyast.docstring(docs.module_text(source)), Blank(), *imports, *rest])


def _check_names(cell: Cell) -> None:
    taken = [n for n in (*cell.params, *cell.options) if ascii_name(n) in MODULE_ATTRIBUTES]
    if taken:
        raise CellcError(*(Diagnostic(
            "reserved-name", f"`{name}` is an attribute of every torch module",
            hints=("give the parameter or option another name",)) for name in taken))  # fmt: skip


def _class_text(writer: TorchEmitter, twin: torch_cells.Twin | None) -> str:
    cell = writer.cell
    loads = (
        ["", f"``load_state_dict`` takes the parameters of ``nn.{twin.module}`` as well, and",
         "``to_torch`` gives them back."] if twin is not None else []
    )  # fmt: skip
    return "\n".join([
        cell.description or cell.name,
        "",
        "Arguments:",
        *docs.argument_lines(cell),
        "    batch_first: whether sequences are (B, T, …) rather than (T, B, …).",
        "    seed: what initial values are drawn from, each by its parameter's name; by",
        "        default taken from torch's generator.",
        "    device, dtype: of the parameters.",
        "",
        "Parameters:",
        *docs.parameter_lines(cell),
        *loads,
        "",
    ])  # fmt: skip


def _constructor(writer: TorchEmitter) -> Item:
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
        *writer.dimension_lines(params),
        *lines("factory = {'device': device, 'dtype': dtype}"),
        *params,
        *lines("self.reset_parameters(seed)"),
    ]
    head = quote_statements(f"def __init__({', '.join(signature)}):\n    pass")[0]
    return Block(head, tuple(body))


def _reset(writer: TorchEmitter) -> Item:
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
    draw = lines(
        """
        if seed is None:
            seed = torch.randint(2**31, ()).item()

        def draw(label):
            return torch.Generator().manual_seed(zlib.crc32(f'{seed}/{label}'.encode()))
        real = torch.float64
        """
    )
    body = [
        pyast.docstring("Give every parameter its initial value, drawn from the seed and its name."),
        *writer.dimension_lines(values),
        *(draw if uses_draw else lines("real = torch.float64")),
        *values,
    ]
    head = "@torch.no_grad()\ndef reset_parameters(self, seed=None):\n    pass"
    return Block(quote_statements(head)[0], tuple(body))


def _initial_state(writer: TorchEmitter) -> Item:
    """The method that gives the state sequences start with."""
    cell = writer.cell
    values = []
    for state in cell.states:
        dims = [ast.unparse(writer.size(dim)) for dim in cell.nodes[state].type.shape]
        shape = quote(f"({', '.join(['batch', *dims])},)")
        start = cell.values("start").get(state)
        if start is None:
            values.append(quote("like.new_zeros(shape)", shape=shape))
        elif writer.number(start) is not None:
            number = writer.number(start)
            assert number is not None
            values.append(quote("like.new_full(shape, v)", shape=shape, v=number))
        else:
            value = writer.initial_value(start)
            values.append(quote("v.expand(shape)", shape=shape, v=value))
    text = "The state that sequences start with unless one is given."
    likes = [Line(quote_statements("like = next(self.parameters())")[0])] if any(
        "like" in pyast.names_in([Line(ast.Expr(v))]) for v in values) else []  # fmt: skip
    result = _tuple(ast.unparse(v) for v in values)
    head = quote_statements("def initial_state(self, batch):\n    pass")[0]
    return Block(head, (pyast.docstring(text), *likes, *lines(f"return {result}")))


def _forward(writer: TorchEmitter) -> Item:
    cell = writer.cell
    inputs = [writer.ids[name] for name in cell.inputs]
    states = list(cell.states)
    first, rank = inputs[0], len(cell.nodes[cell.inputs[0]].type.shape)
    bare = len(states) == 1
    outputs = list(cell.values("output"))
    every = lambda text: "; ".join(text.format(x=x) for x in inputs)  # noqa: E731
    listed = "(state,)" if bare else "state"
    checks = _size_checks(writer)
    repack = "PackedSequence(rows, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)"
    text = f"""
        packed = {first} if isinstance({first}, PackedSequence) else None
        batched = packed is not None or {first}.dim() == {rank + 2}
        if packed is not None:
            sizes = packed.batch_sizes.tolist()
            {every("{x} = {x}.data")}
        else:
            if not batched:
                {every("{x} = {x}.unsqueeze(1)")}
            elif self.batch_first:
                {every("{x} = {x}.transpose(0, 1)")}
            sizes = [{first}.shape[1]] * {first}.shape[0]
            {every("{x} = {x}.flatten(0, 1)")}
        checks
        if not sizes:
            raise ValueError('a sequence needs at least one step')
        if state is None:
            state = self.initial_state(sizes[0])
        elif packed is not None and packed.sorted_indices is not None:
            state = {_each(bare, "value.index_select(0, packed.sorted_indices)")}
        elif not batched:
            state = {_each(bare, "value.unsqueeze(0)")}
        outputs, state = self._run({", ".join(inputs)}, sizes, {listed})
        if packed is not None:
            outputs = [{repack} for rows in outputs]
            if packed.unsorted_indices is not None:
                state = [value.index_select(0, packed.unsorted_indices) for value in state]
        else:
            outputs = [rows.unflatten(0, (len(sizes), sizes[0])) for rows in outputs]
            if not batched:
                outputs = [value.squeeze(1) for value in outputs]
                state = [value.squeeze(0) for value in state]
            elif self.batch_first:
                outputs = [value.transpose(0, 1) for value in outputs]
        return {"outputs[0]" if len(outputs) == 1 else "tuple(outputs)"}, {
            "state[0]" if bare else "tuple(state)"}
        """
    statements = quote_statements(text.replace("]}\n            \"", "]}"), checks=checks)
    body = [pyast.docstring(_forward_text(writer)), *(Line(s) for s in statements)]
    head = quote_statements(f"def forward(self, {', '.join(inputs)}, state=None):\n    pass")[0]
    return Block(head, tuple(body))


def _each(bare: bool, change: str) -> str:
    """A change made to the one state or to all of them."""
    return change.replace("value", "state") if bare else f"[{change} for value in state]"


def _size_checks(writer: TorchEmitter) -> list[ast.stmt]:
    """Clear errors for inputs of the wrong size."""
    checks: list[ast.stmt] = []
    for name in writer.cell.inputs:
        shape = writer.cell.nodes[name].type.shape
        if not shape:
            continue
        x, sizes = writer.ids[name], quote(
            f"({', '.join(ast.unparse(writer.size(dim)) for dim in shape)},)")  # fmt: skip
        checks += quote_statements(
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


def _run(writer: TorchEmitter) -> Item:
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
    once += writer.hoisted.values()
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
    if writer.number(name) is not None:
        value = quote(f"{writer.ids[writer.cell.inputs[0]]}.new_tensor(v)", v=value)
    return value if writer.cell.nodes[name].type.extent else writer.spread(name, value)


def _extra_repr(writer: TorchEmitter) -> Item:
    cell = writer.cell
    names = [a.name for a in cell.dims.values()] + [writer.ids[o] for o in cell.options]
    text = ", ".join(f"{name}={{self.{name}}}" for name in [*names, "batch_first"])
    return Block(quote_statements("def extra_repr(self):\n    pass")[0],
                 tuple(lines(f"return f{text!r}")))  # fmt: skip


def _tuple(values: Iterable[str]) -> str:
    """One value bare, several as a tuple."""
    listed = list(values)
    return listed[0] if len(listed) == 1 else f"({', '.join(listed)})"


@dataclass(frozen=True)
class TorchBackend:
    """Emits an ``nn.Module``."""

    name: str = "torch"
    suffix: str = ".py"

    def emit(self, schedule: Schedule, source: Cell) -> str:
        return emit(schedule, source)


BACKEND = TorchBackend()

