"""The methods of an emitted NumPy class that run a cell over sequences."""

from __future__ import annotations

from cellc.backends import docs, pyast
from cellc.backends.axes import input_along, word
from cellc.backends.numpy_emitter import NumpyEmitter
from cellc.backends.numpy_scan import scan
from cellc.backends.pyast import (
    Block,
    Item,
    Line,
    Remark,
    bare_or_tuple,
    lines,
    quote,
    quote_statements,
)
from cellc.backends.scans import remark
from cellc.ir import TIME, AtConstruction, Loop, Once, Scan
from cellc.ir.types import sequence_axis
from cellc.syntax.characters import ascii_name

_TRACED = "Run sequences as the cell is written; the values named in ``trace`` come third."


def call(writer: NumpyEmitter) -> Item:
    """The method that runs sequences."""
    parameters = parameters_of(writer)
    dispatch: list[Item] = []
    if writer.schedule.written is not None:
        names = [name.split("=")[0] for name in [*parameters, "trace"]]
        place = names.index("*") if "*" in names else len(names) - 1
        passed = [*names[:place], *(f"{name}={name}" for name in names[place:] if name != "*")]
        dispatch = lines(f"if trace:\n    return self._traced({', '.join(passed)})")
        parameters += ["trace=()"] if "*" in parameters else ["*", "trace=()"]
    head = f"def __call__(self, {', '.join(parameters)}):\n    pass"
    body = [*dispatch, *body_of(writer, core_of(writer), _result(writer))]
    return Block(quote_statements(head)[0], (pyast.docstring(_call_text(writer)), *body))


def traced(writer: NumpyEmitter) -> Item:
    """The method that runs sequences and shows what happens inside."""
    names = writer.traceable
    writer.watched = frozenset(names.values())
    core = core_of(writer)
    shown: list[Item] = lines("traced = {}")
    for name, node in names.items():
        value = writer.masked(node, writer.cell.nodes[node].type.extent)
        shown.append(Line(quote_statements(f"traced[{name!r}] = v", v=value)[0]))
    extents = {name: writer.cell.nodes[node].type.extent for name, node in names.items()}
    held = [name for name, extent in extents.items() if writer.axis_given(extent) is None]
    alone = f"value[0] if name in {held!r} else value[:, 0]" if held else "value[:, 0]"
    shown += lines(
        """
        for name in trace:
            if name not in traced:
                raise ValueError(f"no value is called {name}; there are {', '.join(traced)}")
        traced = {name: traced[name] for name in trace}
        """
    )
    if writer.cell.inputs:
        one = f"{{name: {alone} for name, value in traced.items()}}"
        shown += lines(f"if not batched:\n    traced = {one}")
    parameters = parameters_of(writer)
    parameters += ["trace=()"] if "*" in parameters else ["*", "trace=()"]
    head = f"def _traced(self, {', '.join(parameters)}):\n    pass"
    start = lines("trace = (trace,) if isinstance(trace, str) else trace")
    body = [*start, *body_of(writer, [*core, *shown], _result(writer, ", traced"))]
    return Block(quote_statements(head)[0], (pyast.docstring(_TRACED), *body))


def keywords_of(writer: NumpyEmitter) -> list[str]:
    """The arguments of a cell that draws, or that depends on whether it is trained."""
    keywords = ["training=False"] if writer.by_mode else []
    return keywords + (["draws=None", "rng=None"] if writer.draws else [])


def drawn_lines(writer: NumpyEmitter, batched: str, steps: bool = True) -> list[Item]:
    """The statements that draw numbers, or take those that were given."""
    if not writer.draws:
        return []
    names = [ascii_name(name) for name in writer.draws]
    known = ", ".join(map(repr, names))
    said = f"draws are given for {', '.join(names)} only"
    items = lines(
        f"""
        draws = dict(draws or {{}})
        if not draws.keys() <= {{{known}}}:
            raise ValueError({said!r})
        rng = np.random.default_rng(rng) if training else None
        """
    )
    for name in writer.draws:
        axis = sequence_axis(writer.cell.nodes[name].type.extent)
        lead = f"{word(axis, 'steps')}, batch" if steps and axis is not None else "batch"
        call = quote(f"drawn(draws.get('{ascii_name(name)}'), rng, shape, {batched}, self.dtype)",
                     shape=writer.state_shape(name, lead))  # fmt: skip
        items.append(Line(pyast.assign(writer.ids[name], call), writer.comment(name)))
    writer.helpers["drawn"] = _DRAWN
    return items


_DRAWN = '''
def drawn(given, rng, shape, batched, dtype):
    """Numbers from [0, 1): those given, else drawn, or their mean without a generator."""
    if rng is None:
        return np.broadcast_to(np.asarray(0.5, dtype), shape)
    if given is None:
        return rng.random(shape).astype(dtype)
    given = np.asarray(given, dtype)
    if batched and given.shape != shape:
        raise ValueError(f'draws of the shape {given.shape} where {shape} is asked for')
    return given.reshape(shape)
'''


def parameters_of(writer: NumpyEmitter) -> list[str]:
    """The parameters of the call behind ``self``."""
    schedule = writer.schedule
    unknown = [word(a, "steps") for a in writer.axes if input_along(schedule, a) is None]
    lengths = [f"{word(axis, 'lengths')}=None" for axis in writer.axes]
    first = [*(writer.ids[name] for name in writer.cell.inputs), "state=None"]
    keywords = [
        *unknown,
        *([] if writer.cell.inputs else ["batch=1"]),
        *(text for text in lengths if text != "lengths=None"),
        *keywords_of(writer),
    ]
    if TIME in writer.axes:
        first.append("lengths=None")
    return [*first, "*", *keywords] if keywords else first


def core_of(writer: NumpyEmitter) -> list[Item]:
    """The statements of all regions."""
    core: list[Item] = []
    for region in writer.schedule.regions:
        if isinstance(region, AtConstruction):
            continue
        writer.region = None
        for name in region.values:
            if name in writer.computed:
                core += writer.start(name)
            if name in writer.recorded:
                core += lines(f"{writer.ids[name]}_start = {writer.ids[name]}")
        writer.region = region
        if isinstance(region, Scan):
            core += [Remark(remark(region)), *scan(writer, region)]
            continue
        if isinstance(region, Loop):
            side = "after" if region.backward else "before"
            core += [Remark(f"step by step, because each step needs the one {side}")]
            core += writer.loop(region)
            continue
        found = writer.at_once(region)
        at_once = "for all steps at once" if sequence_axis(region.extent) else "once per sequence"
        words = "once per call" if isinstance(region, Once) else at_once
        core += [Remark(words), *found] if found else []
    writer.region = None
    return core


def body_of(
    writer: NumpyEmitter, core: list[Item], result: list[Item], checks: list[Item] | None = None
) -> list[Item]:
    """The core with what it needs before it and what it gives behind it."""
    prologue = [*_inputs(writer), *_state(writer), *_ends(writer)]
    prologue += drawn_lines(writer, "batched" if writer.cell.inputs else "True")
    core = [*(checks or []), *core, *result]
    if "p" in pyast.names_in(core):
        core = [*lines("p = self.params"), *core]
    return [*prologue, *writer.dimension_lines([*prologue, *core]), *core]


def _inputs(writer: NumpyEmitter) -> list[Item]:
    """Inputs as arrays with a batch, and the numbers of steps and sequences."""
    cell, items = writer.cell, []
    undone = []
    for name in cell.inputs:
        x, type_ = writer.ids[name], cell.nodes[name].type
        cast = f"{x} = np.asarray({x}, self.dtype)" if type_.dtype == "real" else (
            f"{x} = np.asarray({x})")  # fmt: skip
        items += lines(cast)
        undone.append(f"{x} = {x}[:, None]" if sequence_axis(type_.extent) else f"{x} = {x}[None]")
    if not cell.inputs:
        return items
    first = cell.nodes[cell.inputs[0]].type
    rank = len(first.shape) + len(first.extent)
    items += lines(f"batched = {writer.ids[cell.inputs[0]]}.ndim == {rank}")
    items += lines(f"if not batched:\n    {'; '.join(undone)}")
    known = False
    for axis in writer.axes:
        sequence = input_along(writer.schedule, axis)
        if sequence is not None:
            steps, x = word(axis, "steps"), writer.ids[sequence]
            items += lines(f"{steps} = len({x})" if known else f"{steps}, batch = {x}.shape[:2]")
            known = True
    return items if known else items + lines(f"batch = len({writer.ids[cell.inputs[0]]})")


def _state(writer: NumpyEmitter) -> list[Item]:
    """The states that the call starts from, as arrays with a batch."""
    states = [writer.ids[name] for name in writer.cell.states]
    if not states:
        return []
    batch, cast = "np.asarray(value)[None]", "np.asarray(value, self.dtype)"
    if writer.computed:
        batch, cast = (f"value if value is None else {text}" for text in (batch, cast))
    if len(states) == 1:
        batch, cast = (text.replace("value", "state") for text in (batch, cast))
    else:
        batch, cast = f"tuple({batch} for value in state)", f"[{cast} for value in state]"
    alone = f"elif not batched:\n    state = {batch}" if writer.cell.inputs else ""
    items = lines("given = state is not None") if writer.kept else []
    items += lines(f"if state is None:\n    state = self.initial_state(batch)\n{alone}")
    items += lines(f"state = {cast}\n{', '.join(states)} = state")
    for name in writer.kept:
        items += writer.start(name) if name not in writer.computed else []
    return items


def _ends(writer: NumpyEmitter) -> list[Item]:
    """Where each sequence ends, along each axis."""
    items: list[Item] = []
    for axis in writer.axes:
        ends, steps, lengths = (word(axis, stem) for stem in ("ends", "steps", "lengths"))
        items += lines(
            f"""
            {ends} = np.full(batch, {steps}) if {lengths} is None else np.asarray({lengths})
            {word(axis, "alive")} = np.arange({steps})[:, None] < {ends}
            """
        )
        if writer.over_sequences:
            items += lines(
                f"""
                if not np.all((0 < {ends}) & ({ends} <= {steps})):
                    raise ValueError(f'{lengths} lie between 1 and {{{steps}}}')
                """
            )
    return items


def _result(writer: NumpyEmitter, more: str = "") -> list[Item]:
    """Outputs, zero where a sequence has ended, and the state."""
    cell = writer.cell
    names: list[str] = []
    alone: list[str] = []
    items: list[Item] = []
    values = list(cell.values("output").values())
    for value, extent in zip(values, writer.output_extents(), strict=True):
        names.append(writer.ids.fresh("output"))
        sequence = writer.axis_given(extent) is not None
        alone.append(f"{names[-1]}[:, 0]" if sequence else f"{names[-1]}[0]")
        own = not more and values.count(value) == 1
        form = "v.astype(self.dtype, copy=False)" if sequence else "np.array(v, self.dtype)"
        items.append(
            Line(pyast.assign(names[-1], quote(form, v=writer.masked(value, extent, own))))
        )
    states = [writer.ids[name] for name in cell.states]
    if writer.kept:
        kept = ", ".join(f"'{writer.ids[s]}': {writer.ids[s]}.copy()" for s in writer.kept)
        items += lines(f"self._kept, self._fresh = {{{kept}}}, np.zeros(batch, bool)")
    if cell.inputs:
        one = f"{bare_or_tuple(alone)}, {bare_or_tuple(f'{s}[0]' for s in states)}{more}"
        items += lines(f"if not batched:\n    return {one}")
    return items + lines(f"return {bare_or_tuple(names)}, {bare_or_tuple(states)}{more}")


def _call_text(writer: NumpyEmitter) -> str:
    cell = writer.cell
    end = "the state after the last step" if cell.states else "()"
    return "\n".join([
        "Run sequences through the cell.",
        "",
        "Arguments:",
        *docs.input_lines(cell),
        "    state: as returned, or None to "
        + ("carry on from the call before." if writer.kept else "start afresh."),
        *keyword_lines(writer),
        "",
        f"Returns {returned_by(writer)} and {end}.",
        *(["Without the dimension B everywhere, one sequence is run."] if cell.inputs else []),
        *(["The state holds"] if cell.states else []),
        *docs.shape_lines(cell, cell.states, "B"),
        "",
    ])  # fmt: skip


def returned_by(writer: NumpyEmitter) -> str:
    """What a call returns before the state, with the dimensions in front."""
    extents = writer.output_extents()
    leads = {"B" if writer.axis_given(extent) is None else "T, B" for extent in extents}
    shape = f" ({leads.pop()}, …)" if len(leads) == 1 else ""
    return f"the output{'s' if len(extents) > 1 else ''}{shape}"


def keyword_lines(writer: NumpyEmitter) -> list[str]:
    """What the arguments behind the state are for."""
    found: list[str] = []
    for axis in writer.axes:
        number = "T" if axis == TIME else f"T_{ascii_name(axis)}"
        found += [
            f"    {word(axis, 'lengths')} (B,): where each sequence ends; there its state stays "
            "as it is and",
            f"        its outputs are zero. None for {number}.",
        ]
        if input_along(writer.schedule, axis) is None:
            found.append(f"    {word(axis, 'steps')}: the number of steps, {number}.")
    if not writer.cell.inputs:
        found.append("    batch: the number of sequences, B.")
    if writer.by_mode:
        found.append("    training: whether the cell is being trained.")
    if writer.draws:
        names = ", ".join(ascii_name(name) for name in writer.draws)
        found += [
            "    draws: a dictionary with numbers from [0, 1), or with 1 to keep and 0 to drop, in",
            f"        place of what is drawn: {names}.",
            "    rng: a generator of NumPy or a seed, from which numbers are drawn.",
        ]
    if writer.schedule.written is not None:
        found += ["    trace: names of values; a third result then holds them by name."]
    return found
