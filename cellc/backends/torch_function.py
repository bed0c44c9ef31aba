"""The ``autograd.Function`` of an emitted Torch file: the cell over rows, and its derivative.

``forward`` is a function of tensors and of nothing else, so that autograd can run it as
well, where a second derivative is asked for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from cellc.backends import pyast
from cellc.backends.axes import input_along, word
from cellc.backends.pyast import Blank, Block, Item, Line, Remark, lines, quote_statements
from cellc.backends.torch_derived import DerivedEmitter, FunctionEmitter, under
from cellc.backends.torch_method import Method
from cellc.backends.torch_run import core_of, is_first, looped, remark_of, whole_of
from cellc.ir import Loop, Result, Schedule, reached
from cellc.syntax.characters import ascii_name


class Arguments:
    """What the function takes: tensors in order, then numbers and sizes.

    ``passed`` and ``rest_passed`` are what the module passes for them, ``own`` what its
    method is given for that.
    """

    def __init__(self, writer: FunctionEmitter, used: set[str]) -> None:
        cell = writer.cell
        given = [*cell.inputs, *writer.draws]
        params = [name for name in cell.params if writer.ids[name] in used]
        self.tensors = [*given, *cell.states, *params]
        self.first_param = len(given) + len(cell.states)
        self.names = [writer.ids[name] for name in self.tensors]
        self.passed = [
            *self.names[: self.first_param],
            *(f"self.{ascii_name(name)}" for name in params),
        ]
        rest = {dim: f"self.{argument.name}" for dim, argument in cell.dims.items()}
        rest |= {writer.ids[option]: f"self.{writer.ids[option]}" for option in cell.options}
        rest |= {"training": "self.training"} if writer.by_mode else {}
        sizes = [word(axis, "sizes") for axis in writer.axes]
        packed = [axis for axis in writer.axes if input_along(writer.schedule, axis)]
        sizes += [word(axis, "packed") for axis in packed]
        sizes += [] if writer.axes else ["batch"]
        rest |= {name: name for name in sizes}
        self.rest, self.rest_passed = list(rest), list(rest.values())
        self.own = [*(writer.ids[name] for name in given), *sizes]


class GradientFunction:
    """The class of the function, and the method of the module that calls it.

    ``method`` is what the latter is called, ``replay`` the function through which gradients
    flow a second time.

    Attributes:
        block: the class. method: the method.
        writer, derived: the writers of the two directions.
    """

    forward_emitter: type[FunctionEmitter] = FunctionEmitter
    #: The names of what runs rows, and of what keeps their results for the backward pass.
    runs, keeps = "forward", "setup_context"
    derived_emitter: type[DerivedEmitter] = DerivedEmitter

    def __init__(self, schedule: Schedule, name: str, method: str = "_run") -> None:
        assert schedule.gradient is not None, "the schedule has a gradient"
        self.name, self.back = name, schedule.gradient
        writer = self.writer = self.forward_emitter(schedule, saved=self.back.saved)
        derived_nodes = self.back.schedule.cell.nodes
        writer.recorded = frozenset(state for state in writer.computed if state in derived_nodes)
        starts = {state: f"{writer.ids[state]}_start" for state in sorted(writer.recorded)}
        core, self.outputs, self.states = core_of(writer)
        self.arguments = Arguments(writer, pyast.names_in(core))
        core = self._arranged(core)
        listed = writer.listed
        whole = writer.saved - set(listed)
        known = {
            name: writer.whole(name) if name in whole else writer.ids[name]
            for name, node in derived_nodes.items()
            if name in writer.cell.nodes and node.op.leaf
        } | starts
        taken = {*writer.ids.taken, *(writer.ids[name] for name in writer.cell.nodes)}
        self.derived = self.derived_emitter(self.back.schedule, known, taken, listed=listed)
        self.derived.forward, self.derived.wanted = schedule, self._wanted()
        wholes = [writer.whole(name) for name in self.back.saved if name not in listed]
        wholes = [*wholes, *starts.values()]
        self.saved = [w for w in wholes if w not in self.outputs and w not in self.prepared]
        self.steps = [f"{writer.ids[name]}_steps" for name in listed]
        text = "The cell over rows, with the backward pass derived from its equations."
        parts = [self._forward(core), self._setup(), self._backward()]
        body = [pyast.docstring(text), *(item for part in parts for item in (Blank(), part))]
        head = f"class {name}(torch.autograd.Function):\n    pass"
        self.block = Block(quote_statements(head)[0], tuple(body))
        self.method = self._method(method)

    @property
    def replay(self) -> str:
        """The function that autograd goes through, as emitted code has it."""
        return f"{self.name}.forward"

    @property
    def prepared(self) -> tuple[str, ...]:
        """What both directions read of what is computed of the parameters alone."""
        return ()

    def _arranged(self, core: list[Item]) -> list[Item]:
        """The statements of the function itself, without what is done elsewhere."""
        return core

    def _unprepared(self, used: set[str]) -> list[Item]:
        """What the backward pass finds prepared."""
        return []

    def _forward(self, core: list[Item]) -> Item:
        """The function itself; with ``keep`` it gives what the backward pass reads as well."""
        saved = ", ".join([*self.saved, *self.steps])
        more = f"(*results, {saved}) if keep else " if saved else ""
        body = [
            pyast.docstring("Run rows: all steps of all sequences, ``sizes`` rows for each step."),
            *core,
            *lines(f"results = ({', '.join(self._results())},)"),
            *lines(f"return {more}results"),
        ]
        names = [*self.arguments.names, *self.arguments.rest, "keep"]
        return static(f"def {self.runs}({', '.join(names)})", body)

    def _results(self) -> list[str]:
        """Outputs and final states; what is given away as it came is given as a view."""
        cell, nexts = self.writer.cell, self.writer.cell.values("next")
        values = [*cell.values("output").values(), *(nexts[state] for state in cell.states)]
        texts = [*self.outputs, *self.states]
        leaves = [cell.nodes[value].op.leaf for value in values]
        return [f"{t}.view_as({t})" if leaf else t for t, leaf in zip(texts, leaves, strict=True)]

    def _setup(self) -> Item:
        results, tensors = len(self.outputs) + len(self.states), len(self.arguments.names)
        saved = results + len(self.saved)
        body = lines("ctx.set_materialize_grads(False)")
        if self.saved:
            body += lines(f"ctx.mark_non_differentiable(*results[{results}:{saved}])")
        body += lines(
            f"""
            steps = results[{saved}:]
            ctx.save_for_backward(*given[:{tensors}], *results[:{saved}], *sum(steps, []))
            ctx.rest, ctx.lengths = given[{tensors}:], [len(each) for each in steps]
            """
            if self.steps
            else f"""
            ctx.save_for_backward(*given[:{tensors}], *results)
            ctx.rest = given[{tensors}:]
            """
        )
        return static(f"def {self.keeps}(ctx, given, results)", body)

    def applied(self) -> Item:
        """What autograd calls.

        Where there is a ``setup_context`` instead, it inspects a signature at every call, which
        takes 60 microseconds.
        """
        body = lines(
            f"""
            results = {self.name}.{self.runs}(*given)
            {self.name}.{self.keeps}(ctx, given, results)
            return results
            """
        )
        return static("def forward(ctx, *given)", body)

    def _backward(self) -> Item:
        core, tensors = self._derived_core(), len(self.arguments.names)
        back, ids = self.back, self.derived.ids
        slopes = [ids[n] for n in (*back.outputs.values(), *back.states.values())]
        returned = quote_statements(f"return ({', '.join(self._returned())},)")
        used = pyast.names_in([*core, *map(Line, returned)])
        kept = [*self.arguments.names, *self.outputs, *("_" for _ in self.states), *self.saved]
        likes = [f"saved[{tensors + place}]" for place in range(len(slopes))]
        fills = [
            f"{slope} = filled({slope}, {like})" for slope, like in zip(slopes, likes, strict=True)
        ]
        body = [
            pyast.docstring("Give the gradients of all arguments."),
            *lines(
                f"""
                saved = ctx.saved_tensors
                if torch.is_grad_enabled():
                    return replayed({self.replay}, saved[:{tensors}], ctx.rest, slopes)
                {", ".join([*slopes, "*_"])} = slopes
                """
            ),
            *lines("\n".join(fills)),
            *_unpacked(kept, "saved", used),
            *_unpacked(self.arguments.rest, "ctx.rest", used),
            *self._unprepared(used),
            *(
                lines(f"{', '.join(self.steps)}, = in_lists(saved[{len(kept)}:], ctx.lengths)")
                if self.steps
                else []
            ),
            *self._givens(),
            *core,
            *map(Line, returned),
        ]
        return static("def backward(ctx, *slopes)", body)

    def _givens(self) -> list[Item]:
        """Whether states whose start is computed were given."""
        nodes = self.derived.cell.nodes.values()
        ended = {node.args[0] for node in nodes if node.op.name == "final"}
        pairs = [
            (self.derived.ids[self.back.states[state]], self.writer.ids[state])
            for state in self.writer.computed
            if self.back.states[state] in ended
        ]
        return [line for d, s in pairs for line in lines(f"{d}_given = {s} is not None")]

    def _derived_core(self) -> list[Item]:
        """The statements of the derivative; what some results alone need, for these alone."""
        derived = self.derived
        joined = derived.joined_whole()
        once: list[Item] = []
        later: list[Item] = []
        for place, region in enumerate(derived.schedule.regions):
            derived.region = region
            target = once if is_first(derived.schedule, place) else later
            if isinstance(region, Loop):
                found = under(derived.wanted.get(region.values[0], ""), looped(derived, region))
            else:
                found = derived.statements(region)
            target += [Remark(remark_of(region)), *found] if found else []
        derived.region = None
        return [*derived.numbers.values(), *joined, *once, *derived.hoisted.values(), *later]

    def _wanted(self) -> dict[str, str]:
        """The condition under which a value is needed, where not all results ask for it."""
        askers = self._askers()
        every = set[str]().union(*askers.values())
        parameters = self._of_parameters
        some = {
            name: asked
            for name, asked in askers.items()
            if len(asked) == 1 or (asked and asked != every and parameters not in asked)
        }
        return {name: " or ".join(sorted(asked)) for name, asked in some.items()}

    def _askers(self) -> dict[str, set[str]]:
        """The conditions of the results that need a value; in a loop, what any value needs."""
        cell = self.derived.cell
        askers: dict[str, set[str]] = {name: set() for name in cell.nodes}
        for result in cell.results:
            askers[result.value] |= self._asker(result)
        nexts = [(state, value) for state, value in cell.values("next").items()]
        while True:
            before = sum(map(len, askers.values()))
            for name in reversed(list(cell.nodes)):
                for argument in cell.nodes[name].args:
                    askers[argument] |= askers[name]
            for state, value in nexts:
                askers[value] |= askers[state]
            for loop in self.derived.schedule.loops:
                shared = set[str]().union(*(askers[name] for name in loop.values))
                askers |= dict.fromkeys(loop.values, shared)
            if sum(map(len, askers.values())) == before:
                return askers

    @property
    def _of_parameters(self) -> str:
        return f"any(ctx.needs_input_grad[{self.arguments.first_param}:])"

    def _asker(self, result: Result) -> set[str]:
        """The condition under which a result is wanted, if it is one for the caller."""
        tensors, back = self.arguments.tensors, self.back
        if result.role == "sum":
            return {self._of_parameters}
        given = back.inputs if result.role == "output" else back.states
        sources = [name for name, slope in given.items() if slope == result.name]
        return {f"ctx.needs_input_grad[{tensors.index(name)}]" for name in sources}

    def _returned(self) -> list[str]:
        """The gradient of every argument, or None."""
        derived, back, cell = self.derived, self.back, self.writer.cell
        sums, outputs = derived.cell.values("sum"), derived.cell.values("output")
        found: list[str] = []
        for place, name in enumerate(self.arguments.tensors):
            needed = f"if ctx.needs_input_grad[{place}] else None"
            if name in back.inputs:
                value, extent = outputs[back.inputs[name]], cell.nodes[name].type.extent
                found.append(f"{ast.unparse(whole_of(derived, value, extent))} {needed}")
            elif name in back.states:
                state = derived.ids[back.states[name]]
                given = f"None if {self.writer.ids[name]} is None else {state}"
                found.append(given if name in self.writer.computed else state)
            elif name in sums:
                found.append(f"{ast.unparse(derived.reference(sums[name]))} {needed}")
            else:
                found.append("None")
        return [*found, *["None"] * (len(self.arguments.rest) + 1)]

    def _method(self, name: str) -> Method:
        """The method that runs rows, with the derived backward pass where that is wanted."""
        arguments, outputs, states = self.arguments, len(self.outputs), self.states
        given = ", ".join([*arguments.passed, *arguments.rest_passed])
        looped = self._that_loops_need()
        names = [self.writer.ids[state] for state in self.writer.cell.states]
        unpack = lines(f"{', '.join(names)}, = state") if len(names) == 1 else (
            lines(f"{', '.join(names)} = state") if names else [])  # fmt: skip
        body = [
            pyast.docstring("Run rows, with the derived backward pass where gradients are wanted."),
            *unpack,
            *lines(
                f"""
                given = ({given},)
                if self.derived and derives({looped}):
                    results = {self.name}.apply(*given, True)
                else:
                    results = {self.name}.forward(*given, False)
                return (results[:{outputs}], results[{outputs}:{outputs + len(states)}])
                """
            ),
        ]
        head = f"def {name}(self, {', '.join([*arguments.own, 'state'])}):\n    pass"
        block = Block(quote_statements(head)[0], tuple(body))
        return Method(name, tuple(arguments.own), block)

    def _that_loops_need(self) -> str:
        """Those of the given tensors that a loop's values depend on, as emitted code has them."""
        cell, schedule = self.writer.cell, self.writer.schedule
        needed = reached(cell.nodes, schedule.values_in_loops())
        flows = [*cell.values("next").items(), *cell.values("start").items()]
        while more := {value for state, value in flows if state in needed} - needed:
            needed |= reached(cell.nodes, more)
        tensors = self.arguments.tensors
        places = [place for place, name in enumerate(tensors) if name in needed]
        if len(places) in (0, len(tensors)):
            return f"given[:{len(tensors)}]"
        return f"({', '.join(self.arguments.passed[place] for place in places)},)"


def _unpacked(names: Sequence[str], source: str, used: set[str]) -> Iterator[Item]:
    """Names for those parts of a tuple that are used, each row of neighbours in one line."""
    places = [(place, name) for place, name in enumerate(names) if name in used]
    for _, row in groupby(enumerate(places), key=lambda each: each[1][0] - each[0]):
        (first, name), *others = [place for _, place in row]
        if others:
            text = ", ".join([name, *(other for _, other in others)])
            yield from lines(f"{text} = {source}[{first}:{first + len(others) + 1}]")
        else:
            yield from lines(f"{name} = {source}[{first}]")


def static(text: str, body: Iterable[Item]) -> Block:
    """A static method with this head."""
    return Block(quote_statements(f"@staticmethod\n{text}:\n    pass")[0], tuple(body))
