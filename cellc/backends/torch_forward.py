"""The ``forward`` of an emitted ``nn.Module``: sequences in any form to rows and back."""

from __future__ import annotations

import ast

from cellc.backends import docs, pyast
from cellc.backends.axes import input_along, word
from cellc.backends.pyast import Block, Item, lines, quote_statements
from cellc.backends.torch_emitter import TorchEmitter
from cellc.backends.torch_method import Method
from cellc.backends.torch_run import extent_of, form, is_plain
from cellc.ir import BATCH
from cellc.ir.types import sequence_axis
from cellc.syntax.characters import ascii_name


def forward(writer: TorchEmitter, run: Method, traced: Method) -> Item:
    """The method that is called; ``writer`` is that of the cell as it was written."""
    body = [
        pyast.docstring(_text(writer)),
        *_inputs(writer),
        *_draws(writer),
        *_given_state(writer),
        *_state_checks(writer),
        *_reordered(writer, "in_row_order"),
        *_results(writer, run, traced),
    ]
    head = quote_statements(f"def forward({', '.join(_signature(writer))}):\n    pass")[0]
    return Block(head, tuple(body))


def _signature(writer: TorchEmitter) -> list[str]:
    found = ["self", *(writer.ids[name] for name in writer.cell.inputs), "state=None", "*"]
    found += [word(axis, "steps") for axis in _counted(writer)]
    found += [] if writer.cell.inputs else ["batch=1"]
    found += ["draws=None", "generator=None"] if writer.draws else []
    return [*found, "trace=()"]


def _counted(writer: TorchEmitter) -> list[str]:
    """The axes whose number of steps no input tells."""
    return [axis for axis in writer.axes if input_along(writer.schedule, axis) is None]


def _rank(writer: TorchEmitter, name: str) -> int:
    return len(writer.cell.nodes[name].type.shape)


def _axis(writer: TorchEmitter, name: str) -> str | None:
    return sequence_axis(writer.cell.nodes[name].type.extent)


def _batch(writer: TorchEmitter) -> str:
    """How many sequences there are."""
    for axis in writer.axes:
        if input_along(writer.schedule, axis):
            return f"{word(axis, 'sizes')}[0]"
    return f"len({writer.ids[writer.cell.inputs[0]]})" if writer.cell.inputs else "batch"


def _inputs(writer: TorchEmitter) -> list[Item]:
    """Inputs as rows with their sizes, or one value per sequence; all of one batch."""
    cell, items = writer.cell, _batched(writer)
    batches: list[str] = []
    for name in sorted(cell.inputs, key=lambda name: _axis(writer, name) is None):
        x, axis = writer.ids[name], _axis(writer, name)
        if axis is None:
            items += lines(f"{x} = {x} if batched else {x}.unsqueeze(0)")
            batches.append(f"len({x})")
        elif input_along(writer.schedule, axis) == name:
            sizes, packed = word(axis, "sizes"), word(axis, "packed")
            items += lines(f"{x}, {sizes}, {packed} = to_rows({x}, batched, self.batch_first)")
            items += lines(
                f"if not {sizes}:\n    raise ValueError('a sequence needs at least one step')"
            )
            batches.append(f"{sizes}[0]")
        else:
            items += lines(f"{x} = rows_like({x}, {_form(writer, axis)})")
    items += [check for name in cell.inputs for check in _size_check(writer, name)]
    if len(batches) > 1:
        first, *others = batches
        differ = " or ".join(f"{other} != {first}" for other in others)
        items += lines(f"if {differ}:\n    raise ValueError('inputs differ in batch')")
    return items + _counted_sizes(writer)


def _batched(writer: TorchEmitter) -> list[Item]:
    """Whether the inputs have a batch, as the first sequence among them shows."""
    names = sorted(writer.cell.inputs, key=lambda name: _axis(writer, name) is None)
    if not names:
        return lines("batched = True")
    x, rank = writer.ids[names[0]], _rank(writer, names[0])
    if _axis(writer, names[0]) is None:
        return lines(f"batched = {x}.dim() == {rank + 1}")
    return lines(f"batched = isinstance({x}, PackedSequence) or {x}.dim() == {rank + 2}")


def _counted_sizes(writer: TorchEmitter) -> list[Item]:
    """The sizes of axes whose number of steps is an argument."""
    batch, items = _batch(writer), []
    for axis in _counted(writer):
        steps = word(axis, "steps")
        items += lines(
            f"""
            if {steps} < 1:
                raise ValueError('a sequence needs at least one step')
            {word(axis, "sizes")} = [{batch}] * {steps}
            """
        )
    if not writer.axes and batch != "batch":
        items += lines(f"batch = {batch}")
    return items


def _size_check(writer: TorchEmitter, name: str) -> list[Item]:
    """A clear error for an input of the wrong size."""
    shape, x = writer.cell.nodes[name].type.shape, writer.ids[name]
    if not shape:
        return []
    sizes = ast.parse(f"({', '.join(ast.unparse(writer.size(dim)) for dim in shape)},)").body[0]
    assert isinstance(sizes, ast.Expr)
    return lines(
        f"""
        if {x}.shape[1:] != sizes:
            raise ValueError(f'{x} has the size {{tuple({x}.shape[1:])}}, not {{sizes}}')
        """,
        sizes=sizes.value,
    )


def _form(writer: TorchEmitter, axis: str) -> str:
    return f"{form(writer, frozenset({BATCH, axis}))}, batched, self.batch_first"


def _draws(writer: TorchEmitter) -> list[Item]:
    """What is drawn, from the caller's numbers or the generator, as rows."""
    if not writer.draws:
        return []
    names = [ascii_name(name) for name in writer.draws]
    items = lines(
        f"""
        draws = {{}} if draws is None else draws
        unknown = sorted(draws.keys() - {{{", ".join(map(repr, names))}}})
        if unknown:
            raise ValueError(f'no draw is called {{unknown[0]}}; there are {", ".join(names)}')
        """
    )
    for name, key in zip(writer.draws, names, strict=True):
        node, axis, u = writer.cell.nodes[name], _axis(writer, name), writer.ids[name]
        if axis is None:
            items += lines(
                f"""
                {u} = draws.get({key!r})
                {u} = {u} if {u} is None or batched else {u}.unsqueeze(0)
                """
            )
            lead = _batch(writer)
        else:
            items += lines(f"{u} = rows_like(draws.get({key!r}), {_form(writer, axis)})")
            lead = ast.unparse(writer.count(node.type.extent))
        dims = ", ".join([lead, *(ast.unparse(writer.size(dim)) for dim in node.type.shape)])
        like = ast.unparse(writer.like)
        items += lines(f"{u} = drawn({u}, ({dims},), {like}, generator, self.training)")
    return items


def _bare(writer: TorchEmitter) -> bool:
    return len(writer.cell.states) == 1


def _each(writer: TorchEmitter, change: str) -> str:
    """A change made to the one state or to all of them."""
    if _bare(writer):
        return change.replace("value", "state")
    if writer.computed and ".un" in change:
        change = f"None if value is None else {change}"
    return f"[{change} for value in state]"


def _given_state(writer: TorchEmitter) -> list[Item]:
    """The state with a batch, that of the start where none is given."""
    if not writer.cell.states:
        return lines("state = ()")
    start = "_carried_on" if writer.kept else "initial_state"
    return lines(
        f"""
        if state is None:
            state = self.{start}({_batch(writer)}, {ast.unparse(writer.like)})
        elif not batched:
            state = {_each(writer, "value.unsqueeze(0)")}
        """
    )


def _state_checks(writer: TorchEmitter) -> list[Item]:
    """A clear error for a state of the wrong shape; torch's has a dimension of layers."""
    states = writer.cell.states
    if not states:
        return []
    shapes = [ast.unparse(writer.state_shape(state, _batch(writer))) for state in states]
    given = "(state,)" if _bare(writer) else "state"
    names = [writer.ids[state] for state in states]
    present = "value is not None and " if writer.computed else ""
    return lines(
        f"""
        for name, value, shape in zip({names!r}, {given}, ({", ".join(shapes)},), strict=True):
            if {present}value.shape != shape:
                wrong = tuple(value.shape)
                raise ValueError(f'the state {{name}} has the shape {{wrong}}, not {{shape}}')
        """
    )


def _reordered(writer: TorchEmitter, function: str) -> list[Item]:
    """The state in the order of the rows or back in the caller's; each has that of its axis."""
    axes = [_axis(writer, state) for state in writer.cell.states]
    forms = [ast.unparse(writer.packed(axis)) for axis in axes if axis is not None]
    if set(forms) <= {"None"}:
        return []
    bare = _bare(writer) and function == "in_row_order"
    if bare:
        return lines(f"state = {function}(state, {forms[0]})")
    if len(set(forms)) == 1:
        return lines(f"state = [{function}(value, {forms[0]}) for value in state]")
    pairs = f"zip(state, ({', '.join(forms)}))"
    return lines(f"state = [{function}(value, own) for value, own in {pairs}]")


def _results(writer: TorchEmitter, run: Method, traced: Method) -> list[Item]:
    """Outputs in the form of the inputs, the state in the caller's order."""
    given = "(state,)" if _bare(writer) else "state"
    calls = [method.call.replace(", state)", f", {given})") for method in (run, traced)]
    return [
        *lines(
            f"""
            if trace:
                trace = (trace,) if isinstance(trace, str) else trace
                outputs, state, traced = {calls[1]}
                unknown = [name for name in trace if name not in traced]
                if unknown:
                    known = ', '.join(traced)
                    raise ValueError(f'no value is called {{unknown[0]}}; there are {{known}}')
            else:
                outputs, state = {calls[0]}
            """
        ),
        *_final_state(writer),
        *_outputs(writer),
    ]


def _final_state(writer: TorchEmitter) -> list[Item]:
    states = writer.cell.states
    if not states:
        return []
    items = _reordered(writer, "in_own_order")
    if writer.kept:
        places = [states.index(state) for state in writer.kept]
        detached = "".join(f"state[{place}].detach().clone(), " for place in places)
        items += lines(f"self._kept, self._fresh = ({detached}), None")
    if writer.cell.inputs:
        items += lines("if not batched:\n    state = [value.squeeze(0) for value in state]")
    return items


def _outputs(writer: TorchEmitter) -> list[Item]:
    """The statements that return outputs, state and, where one is wanted, the trace."""
    values = list(writer.cell.values("output").values())
    forms = [form(writer, extent_of(writer, value)) for value in values]
    tail = "batched, self.batch_first"
    if set(forms) == {forms[0]} and forms[0] != "None, None":
        items = lines(f"outputs = [from_rows(rows, {forms[0]}, {tail}) for rows in outputs]")
        several = "tuple(outputs)"
    else:
        changed = [f"in_form(outputs[{k}], {where}, {tail})" for k, where in enumerate(forms)]
        items = lines(f"outputs = ({', '.join(changed)},)")
        several = "outputs"
    trace = f"in_form(*traced[name], {tail})"
    if is_plain(writer):
        trace = f"from_rows(traced[name], {forms[0]}, {tail})"
    returned = [
        "outputs[0]" if len(values) == 1 else several,
        "state[0]" if _bare(writer) else "tuple(state)" if writer.cell.states else "state",
    ]
    return [
        *items,
        *lines(
            f"""
            if trace:
                traced = {{name: {trace} for name in trace}}
                return {", ".join(returned)}, traced
            return {", ".join(returned)}
            """
        ),
    ]


def _text(writer: TorchEmitter) -> str:
    cell = writer.cell
    taken = [
        line
        for name in cell.inputs
        for line in docs.shape_lines(cell, (name,), _lead(writer, name))
    ]
    start = "carry on from the call before" if writer.kept else "start afresh"
    counted = [f"    {word(axis, 'steps')}: how many steps to run." for axis in _counted(writer)]
    counted += [] if cell.inputs else ["    batch: how many sequences to run."]
    return "\n".join([
        "Run sequences through the cell.",
        "",
        "Arguments:",
        *taken,
        f"    state: as returned, or None to {start}.",
        *counted,
        *_draw_lines(writer),
        "    trace: names of values to return as well, in a dict.",
        "",
        *_form_lines(writer),
        "",
    ])  # fmt: skip


def _form_lines(writer: TorchEmitter) -> list[str]:
    """What forms the inputs may have, and what is returned."""
    cell = writer.cell
    given = "Inputs may lack the batch."
    if any(input_along(writer.schedule, axis) for axis in writer.axes):
        given = "Inputs may lack the batch, be batch first if the module is, or be PackedSequences."
    lines = (
        [given, "Returns the outputs in the same form"] if cell.inputs else ["Returns the outputs"]
    )
    if not cell.states:
        return [*lines[:-1], f"{lines[-1]} and an empty state."]
    after = f"{lines[-1]} and the state after each sequence's last step:"
    return [*lines[:-1], after, *docs.shape_lines(cell, cell.states, "B")]


def _lead(writer: TorchEmitter, name: str) -> str:
    """The dimensions in front of a value's own: ``T, B``; of a value per sequence, ``B``."""
    axis = _axis(writer, name)
    if axis is None:
        return "B"
    return "T, B" if axis == writer.axes[0] else f"T_{ascii_name(axis)}, B"


def _draw_lines(writer: TorchEmitter) -> list[str]:
    if not writer.draws:
        return []
    shapes = [line for name in writer.draws
              for line in docs.shape_lines(writer.cell, (name,), _lead(writer, name))]  # fmt: skip
    return [
        "    draws: a dict of numbers in [0, 1), or of zeros that drop and ones that keep, in the",
        "        form of the inputs; what it lacks is drawn while training:",
        *(f"    {line}" for line in shapes),
        "    generator: what to draw from, by default torch's own.",
    ]
