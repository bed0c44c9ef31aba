"""The method of an emitted NumPy class that gives gradients: the cell, then its derivative."""

from __future__ import annotations

from cellc.backends import docs, pyast
from cellc.backends.axes import word
from cellc.backends.numpy_call import body_of, core_of, keyword_lines, parameters_of
from cellc.backends.numpy_emitter import SPELLER, NumpyEmitter
from cellc.backends.pyast import Block, Item, Line, Remark, lines, quote, quote_statements
from cellc.ir import Gradient, Schedule
from cellc.ir.types import sequence_axis
from cellc.syntax.characters import ascii_name


def keeping_writer(schedule: Schedule, kind: type[NumpyEmitter] = NumpyEmitter) -> NumpyEmitter:
    """The writer of the cell that keeps what its derivative reads."""
    writer = kind(schedule, SPELLER)
    back = _gradient(writer)
    writer.watched = frozenset(back.saved)
    writer.recorded = frozenset(s for s in writer.cell.states if s in back.schedule.cell.nodes)
    return writer


def derived_writer(writer: NumpyEmitter, kind: type[NumpyEmitter] = NumpyEmitter) -> NumpyEmitter:
    """The writer of the derivative, for which values of the cell have their names already."""
    back = _gradient(writer)
    taken = {writer.ids[name] for name in writer.cell.nodes} | writer.ids.taken
    known = {
        name: writer.whole(name) if name in back.saved else writer.ids[name]
        for name, node in back.schedule.cell.nodes.items()
        if name in writer.cell.nodes and node.op.leaf and node.op.name != "option"
    }
    if len(back.outputs) == 1:
        known |= dict.fromkeys(back.outputs.values(), "d_output")
    derived = kind(back.schedule, SPELLER, known, taken)
    writer.given = {s: f"{derived.ids[back.states[s]]}_given" for s in _started(back)}
    return derived


def grad(writer: NumpyEmitter, derived: NumpyEmitter) -> Item:
    """The method that runs sequences and the derivative behind them."""
    core = [
        *core_of(writer),
        *_cotangents(writer, derived),
        *_starts(writer),
        Remark("the derivative"),
        *core_of(derived),
    ]
    body = body_of(writer, core, _results(writer, derived), _padding(writer))
    fixed = [name for state, name in writer.given.items() if state not in writer.computed]
    known = [line for name in fixed for line in lines(f"{name} = state is not None")]
    head = f"def grad(self, {', '.join(_parameters(writer))}):\n    pass"
    text = pyast.docstring(_text(writer, derived))
    derived.helpers["cotangent"] = _COTANGENT
    return Block(quote_statements(head)[0], (text, *known, *body))


def _gradient(writer: NumpyEmitter) -> Gradient:
    back = writer.schedule.gradient
    assert back is not None, "the schedule has a gradient"
    return back


def _started(back: Gradient) -> list[str]:
    """The states whose start the derivative goes through."""
    nodes = back.schedule.cell.nodes.values()
    ended = {node.args[0] for node in nodes if node.op.name == "final"}
    return [state for state, cotangent in back.states.items() if cotangent in ended]


def _parameters(writer: NumpyEmitter) -> list[str]:
    """Those of a call, with the gradients that are given behind the inputs."""
    inputs = [writer.ids[name] for name in writer.cell.inputs]
    given = "d_output" if len(_gradient(writer).outputs) == 1 else "d_outputs"
    rest = parameters_of(writer)[len(inputs) :]
    rest += [] if "*" in rest else ["*"]
    return [*inputs, given, *rest, *(["d_state=None"] if writer.cell.states else ["d_state=()"])]


def _padding(writer: NumpyEmitter) -> list[Item]:
    """Zeros behind the ends of sequences, whatever the caller has there."""
    items: list[Item] = []
    for name in writer.cell.inputs:
        type_ = writer.cell.nodes[name].type
        axis = sequence_axis(type_.extent)
        if axis is not None and type_.dtype == "real":
            x, value = writer.ids[name], _zero_behind(axis, writer.ids[name], len(type_.shape))
            items += lines(f"if {word(axis, 'lengths')} is not None:\n    {x} = {value}")
    return items


def _zero_behind(axis: str, value: str, rank: int) -> str:
    index = ", ".join([":", ":", *["None"] * rank])
    return f"np.where({word(axis, 'alive')}[{index}], {value}, 0)"


def _cotangents(writer: NumpyEmitter, derived: NumpyEmitter) -> list[Item]:
    """The gradients by outputs and final states that the derivative starts from."""
    back, cell = _gradient(writer), writer.cell
    names = [derived.ids[name] for name in back.outputs.values()]
    items: list[Item] = []
    outputs = []
    extents = writer.output_extents()
    for value, extent in zip(cell.values("output").values(), extents, strict=True):
        outputs.append(writer.ids.fresh("output"))
        items.append(Line(pyast.assign(outputs[-1], writer.masked(value, extent))))
    sequences = [writer.axis_given(extent) for extent in extents]
    alone = [
        f"{o}[:, 0]" if axis else f"{o}[0]" for o, axis in zip(outputs, sequences, strict=True)
    ]
    given = "d_output" if len(names) == 1 else "d_outputs"
    passed = ", ".join(outputs)
    if cell.inputs:
        passed = f"*(({passed},) if batched else ({', '.join(alone)},))"
    items += lines(f"if callable({given}):\n    {given} = {given}({passed})")
    if len(names) > 1:
        items += lines(f"{', '.join(names)} = {given}")
    elif names != [given]:
        items += lines(f"{names[0]} = {given}")
    flag = "batched" if cell.inputs else "True"
    for name, output, axis, value in zip(
        names, outputs, sequences, cell.values("output").values(), strict=True
    ):
        items += lines(f"{name} = cotangent({name}, {output}.shape, {flag}, self.dtype)")
        if axis is not None:
            zero = _zero_behind(axis, name, len(cell.nodes[value].type.shape))
            items += lines(f"if {word(axis, 'lengths')} is not None:\n    {name} = {zero}")
    return items + _final_cotangents(writer, derived, flag)


def _final_cotangents(writer: NumpyEmitter, derived: NumpyEmitter, flag: str) -> list[Item]:
    back, states = _gradient(writer), writer.cell.states
    names = [derived.ids[back.states[state]] for state in states]
    if not states:
        return []
    several = f"{', '.join(names)} = (None,) * {len(names)} if d_state is None else d_state"
    items = lines(several if len(names) > 1 else f"{names[0]} = d_state")
    for state, name in zip(states, names, strict=True):
        h = writer.ids[state]
        items += lines(f"{name} = cotangent({name}, {h}.shape, {flag}, self.dtype)")
    return items


def _starts(writer: NumpyEmitter) -> list[Item]:
    """The states as they were before the first step, which the derivative shifts from."""
    states = [writer.ids[s] for s in writer.cell.states if s in writer.recorded]
    starts = ", ".join(f"{state}_start" for state in states)
    return lines(f"{', '.join(states)} = {starts}") if states else []


def _results(writer: NumpyEmitter, derived: NumpyEmitter) -> list[Item]:
    """The gradients by name, without a batch where the inputs have none."""
    back, cell = _gradient(writer), writer.cell
    items: list[Item] = lines("gradients = {}")
    sums, outputs = (derived.cell.values(role) for role in ("sum", "output"))
    for name in cell.params:
        key = ascii_name(name)
        value = (
            derived.reference(sums[name]) if name in sums else quote(f"np.zeros_like(p[{key!r}])")
        )
        if not dict(cell.nodes[name].attrs).get("frozen"):
            items += lines(f"gradients[{key!r}] = v", v=value)
    alone: dict[str, str] = {}
    for name in cell.inputs:
        type_, key = cell.nodes[name].type, ascii_name(name)
        if type_.dtype != "real":
            continue
        value = quote(f"np.zeros_like({writer.ids[name]})")
        if name in back.inputs:
            found = outputs[back.inputs[name]]
            value = derived.reference(found)
            if derived.cell.nodes[found].type != type_:
                value = quote("np.broadcast_to(v, x.shape)", v=value, x=writer.ids[name])
        items += lines(f"gradients[{key!r}] = v", v=value)
        alone[key] = "[:, 0]" if sequence_axis(type_.extent) else "[0]"
    for state in cell.states:
        key = ascii_name(state)
        items += lines(f"gradients[{key!r}] = {derived.ids[back.states[state]]}")
        alone[key] = "[0]"
    if cell.inputs and alone:
        items += lines(
            "if not batched:\n"
            + "\n".join(f"    gradients[{k!r}] = gradients[{k!r}]{cut}" for k, cut in alone.items())
        )
    return items + lines("return gradients")


def _text(writer: NumpyEmitter, derived: NumpyEmitter) -> str:
    cell, several = writer.cell, len(_gradient(writer).outputs) > 1
    given = "d_outputs: a tuple of them" if several else "d_output"
    states = ", ".join(writer.ids[state] for state in cell.states)
    return "\n".join([
        "Run sequences and give the gradients of a loss.",
        "",
        "Arguments:",
        *docs.input_lines(cell),
        f"    {given}: the gradient of the loss by the output, in the output's shape; or a",
        "        function that takes the output and returns it.",
        "    state: as for a call.",
        *keyword_lines(writer)[: -1 if writer.schedule.written else None],
        *([f"    d_state: the gradient by the final state ({states}), or None for zeros."]
          if cell.states else []),
        "",
        "Returns a dictionary: the gradient by each parameter, each input and each initial",
        "state, under its name and in its shape.",
        "",
    ])  # fmt: skip


_COTANGENT = '''
def cotangent(given, shape, batched, dtype):
    """A gradient that is given, or zeros, in the shape with a batch."""
    if given is None:
        return np.zeros(shape, dtype)
    given = np.asarray(given, dtype)
    if batched and given.shape != shape:
        raise ValueError(f'a gradient of the shape {given.shape} where {shape} is asked for')
    return given.reshape(shape)
'''
