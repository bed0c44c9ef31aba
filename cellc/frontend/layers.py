"""Cells applied in equations, and values sent through layers.

A call such as ``h, c' = lstm(x, c=m)`` gives a cell its inputs and, where it likes, its
states. ``x -> stack(lstm, layers=2) -> last`` sends a value through layers; a layer is a
cell, a function of one value, or a combinator of layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn

from cellc.diagnostics import Span, fail
from cellc.frontend import special
from cellc.frontend.builder import check_axes
from cellc.frontend.expressions import Lowering
from cellc.frontend.given import Given
from cellc.frontend.labels import Label, cell_of, joined, title
from cellc.frontend.shapes import dimension_of
from cellc.frontend.splice import Call, Spliced, sequence_of, splice
from cellc.frontend.suggest import did_you_mean
from cellc.ir import TIME, Argument, Cell, Dim, Result
from cellc.ir.types import Shape, sequence_axis
from cellc.ops import find, function_names
from cellc.syntax import tree
from cellc.syntax.build import is_size

#: An applied cell, and which of the sizes that a call states have been chosen in it.
Found = tuple[Cell, frozenset[str]]
FindCell = Callable[[tree.Name, dict[str, int]], Found | None]

MOST_LAYERS = 200


@dataclass
class Layers:
    """Applies cells and layers for one lowering.

    ``live`` are the states that each equation's layers keep, ``results`` what they add
    to the cell, ``arguments`` the sizes that they bring along, ``counts`` the sizes that
    say how many layers a stack has, ``sending`` the shared layers that are being applied,
    ``applied`` the cells that were, by their labels, ``inside`` which one a value is in.
    """

    lowering: Lowering
    find_cell: FindCell
    live: dict[str, list[str]] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    arguments: dict[str, Argument] = field(default_factory=dict)
    picks: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    counts: set[str] = field(default_factory=set)
    sending: list[str] = field(default_factory=list)
    applied: dict[str, str] = field(default_factory=dict)
    inside: dict[str, str] = field(default_factory=dict)

    # calls in equations

    def call(self, call: tree.Call) -> str | None:
        """The first value of a cell applied by name; None where there is no such cell."""
        values = self._call(call)
        return None if values is None else values[0][1]

    def pick(self, pick: tree.Pick, wanted: Shape | None) -> str:
        """One of the values of a call with several targets."""
        if pick.targets not in self.picks:
            self.picks[pick.targets] = self._all(pick, wanted)
        return self.picks[pick.targets][pick.index]

    def _all(self, pick: tree.Pick, wanted: Shape | None) -> list[str]:
        call, count = pick.value, len(pick.targets)
        if isinstance(call, tree.Call) and call.function == "split":
            return special.split(self.lowering, call, count, wanted)
        values = self._call(call) if isinstance(call, tree.Call) else None
        if values is None:
            fail("wrong-target-count", "only a cell or `split` gives several values", pick.span)
        if len(values) != count:
            shown = ", ".join(f"`{name}`" for name, _ in values)
            fail("wrong-target-count", f"the call gives {shown}; there are {count} names for it",
                 pick.span)  # fmt: skip
        return [value for _, value in values]

    def _call(self, call: tree.Call) -> list[tuple[str, str]] | None:
        """Outputs that are no next states, then next states, with their names."""
        name = tree.Name(call.function, call.function_span)
        share = self.lowering.model.shares.get(call.function)
        if share is not None:
            name = cell_of(share)
        found = self._found(name, call)
        if found is None:
            return None
        cell, chosen = found
        label = self._label_of_call(share)
        given = Given(self.lowering, cell, call.span, chosen)
        given.take_values(call)
        spliced = self._splice(given, label, cell.name)
        inner = {cell.values("next")[s]: s for s in cell.states}
        outputs = [
            (output, spliced.outputs[output])
            for output, value in cell.values("output").items()
            if value not in inner
        ]
        return outputs + [(f"{state}'", value) for state, value in spliced.nexts.items()]

    def _label_of_call(self, share: tree.Share | None) -> Label:
        owner, target = self.lowering.label, self.lowering.target.rstrip("'")
        params = owner if share is None else self._params_of(share)
        return Label(params, target, bare=True, shared=share is not None)

    # layers

    def flow(self, flow: tree.Flow) -> str:
        """The value that leaves a row of layers."""
        single = not isinstance(flow.value, tree.Flow)
        value = self.lowering.lower(flow.value)
        target = self.lowering.target
        output = target == "output"
        label = Label("" if output else self.lowering.label, "" if output else target.rstrip("'"),
                      bare=single and not output)  # fmt: skip
        before = len(self.results)
        result = self.apply(flow.layer, value, label)
        states = [r.name for r in self.results[before:] if r.role == "next"]
        if flow.origin is not None:
            self._start_from(flow.origin, states, flow.span)
        self.live[target] = [*(() if single else self.live.get(target, ())), *states]
        return result

    def apply(self, layer: tree.Expression, value: str, label: Label) -> str:
        """The value behind a layer."""
        if isinstance(layer, tree.Flow):
            inner = replace(label, bare=False)
            return self.apply(layer.layer, self.apply(layer.value, value, inner), inner)
        if not isinstance(layer, (tree.Name, tree.Call)):
            fail("not-a-layer", "this is no layer", layer.span)
        name = layer.name if isinstance(layer, tree.Name) else layer.function
        if name in COMBINATORS:
            call = layer if isinstance(layer, tree.Call) else None
            if call is None or not call.args:
                fail("not-a-layer", f"`{name}` needs a layer to act on: `{name}(lstm)`", layer.span)
            return COMBINATORS[name](self, call, value, label)
        share = self.lowering.model.shares.get(name)
        if share is not None:
            return self._apply_shared(share, value, label.within(name, self._params_of(share)))
        return self._plain(layer, name, value, label)

    def _params_of(self, share: tree.Share) -> str:
        """One set of parameters, or one at every position of an axis that is not tied."""
        return joined(share.name, self.lowering.place)

    def _apply_shared(self, share: tree.Share, value: str, label: Label) -> str:
        if share.name in self.sending:
            circle = [*self.sending[self.sending.index(share.name) :], share.name]
            fail("cycle", f"a layer is made of itself: {' → '.join(circle)}", share.span)
        self.sending.append(share.name)
        try:
            return self.apply(share.layer, value, label)
        finally:
            self.sending.pop()

    def _plain(self, layer: tree.Name | tree.Call, name: str, value: str, label: Label) -> str:
        """A function of one value, or a cell."""
        if name in _OF_SEQUENCES and isinstance(layer, tree.Name):
            reduced = special.over_sequence(self.lowering, _OF_SEQUENCES[name], value, layer)
            return self._named(reduced, label, name)
        span = layer.span
        function_span = layer.function_span if isinstance(layer, tree.Call) else span
        found = self._found(tree.Name(name, function_span), layer)
        if found is None:
            if isinstance(layer, tree.Call):
                self._unknown(name, function_span)
            return self._named(self._function(layer, value), label, name)
        given = Given(self.lowering, found[0], span, found[1])
        given.take_value(value)
        if isinstance(layer, tree.Call):
            given.take_settings(layer)
        spliced = self._splice(given, label, name)
        return self._named(next(iter(spliced.outputs.values())), label, name)

    def _found(self, name: tree.Name, call: tree.Name | tree.Call) -> Found | None:
        """The cell of a name, with the sizes that the call states in numbers chosen already."""
        words = call.keywords if isinstance(call, tree.Call) else ()
        sizes = {
            word: int(part.value)
            for word, part in words
            if isinstance(part, tree.Number) and is_size(part.value)
        }
        for word, part in words:
            if isinstance(part, tree.Name) and self._is_length(name, word):
                outer = self.lowering.model.dims.get(part.name)
                if outer is not None and outer.default is not None:
                    sizes[word] = outer.default
                    self.counts.add(outer.name)
        return self.find_cell(name, sizes)

    def _is_length(self, name: tree.Name, word: str) -> bool:
        """Whether a word is a size of a cell that must be known before compiling."""
        found = self.find_cell(name, {word: 1})
        if found is None or word not in found[1]:
            return False
        plain = self.find_cell(name, {})
        assert plain is not None
        return all(a.fixed for d, a in plain[0].dims.items() if word in (d, a.name))

    def _named(self, value: str, label: Label, name: str) -> str:
        """A layer's value under the layer's name, so that a trace can ask for it."""
        builder, full = self.lowering.builder, label.of_states(name)
        free = full not in builder.nodes and not builder.is_used(value)
        unnamed = value.isdigit() and name and not label.bare
        return builder.rename(value, full) if unnamed and free else value

    def _function(self, layer: tree.Name, value: str) -> str:
        small = layer.name in self.lowering.model.functions
        op = find(layer.name)
        if not small and (op is None or op.leaf or len(op.parameters) != 1):
            self._unknown(layer.name, layer.span)
        hidden = tree.Name("value sent", layer.span)
        call = tree.Call(layer.name, (hidden,), layer.span, layer.span)
        return self.lowering.within(call, None, {hidden.name: value})

    def _unknown(self, name: str, span: Span) -> NoReturn:
        known = [*COMBINATORS, *self.lowering.model.shares, *function_names()]
        hints = did_you_mean(name, known) or ("`cellc list` shows the cells and layers",)
        fail("not-a-layer", f"there is no layer `{name}`", span, hints=hints)

    def _splice(self, given: Given, label: Label, name: str) -> Spliced:
        states, number = self._unique(label.of_states(name))
        params = label.of_params(name)
        if number > 1 and not label.shared:
            params = states if label.params == label.states else f"{params}_{number}"
        self._check_free([*(joined(params, name) for name in given.cell.params),
                          *(joined(states, name) for name in given.cell.states
                            if name not in given.values)], given.span)  # fmt: skip
        nodes = self.lowering.builder.nodes
        inner = given.cell.nodes
        types = [nodes[value].type for slot, value in given.values.items()
                 if sequence_axis(inner[slot].type.extent) == TIME]  # fmt: skip
        check_axes(frozenset[str]().union(*(type_.extent for type_ in types)), given.span)
        axis = sequence_of(types)
        spliced = splice(
            self.lowering.builder,
            Call(given.cell, given.values, given.dims, params, states, axis, given.span,
                 label.kept),
        )  # fmt: skip
        for state, dim_argument in given.brought().items():
            self.arguments.setdefault(state, dim_argument)
        self.results += spliced.results
        self.applied[states] = given.cell.name
        self.applied |= {f"{states}/{own}": cell for own, cell in given.cell.applied.items()}
        for own, value in spliced.inside.items():
            deeper = given.cell.inside.get(own)
            self.inside[value] = states if deeper is None else f"{states}/{deeper}"
        return spliced

    def _check_free(self, names: list[str], span: Span) -> None:
        """What a call adds has names that the text has not given to something else."""
        model = self.lowering.model
        for name in names:
            if name in model.declarations or name in model.equations or name in model.implied:
                hint = "what an applied cell brings along is called after the call; rename yours"
                fail("name-collision", f"two values are called `{name}`", span, hints=(hint,))

    def _unique(self, label: str) -> tuple[str, int]:
        """The label, with a number behind it where it is taken, and that number."""
        name, number = label, 1
        while name in self.labels:
            number += 1
            name = f"{label}_{number}"
        self.labels.add(name)
        return name, number

    def _start_from(self, origin: tree.Name, states: list[str], span: Span) -> None:
        """Let states start from those that another equation's layers end with."""
        ends = self.live.get(origin.name)
        if not ends:
            hint = "it is an equation whose layers keep a state, such as `e = x -> lstm`"
            message = f"`{origin.name}` has no state to start from"
            fail("no-state", message, origin.span, hints=(hint,))
        nodes = self.lowering.builder.nodes
        shapes = [[nodes[s].type.shape for s in group] for group in (states, ends)]
        if shapes[0] != shapes[1]:
            fail("no-state", f"the states of `{origin.name}` are not those that start here", span)
        nexts = {r.name: r.value for r in self.results if r.role == "next"}
        for state, end in zip(states, ends, strict=True):
            final = special.over_sequence(self.lowering, "last", nexts[end], origin)
            self.results = [r for r in self.results if (r.role, r.name) != ("start", state)]
            self.results.append(Result("start", state, final))

    # combinators

    def stack(self, call: tree.Call, value: str, label: Label) -> str:
        """``stack(layer, layers=2, dropout=0.3)``: layers on top of each other."""
        given, layer = self._words(call, "layers", "dropout"), call.args[0]
        count = self._layer_count(given.get("layers"), call)
        for number in range(1, count + 1):
            value = self.apply(layer, value, label.behind(str(number)))
            if "dropout" in given and number < count:
                value = self._dropped(value, given["dropout"], label, number, call)
        return value

    def bidirectional(self, call: tree.Call, value: str, label: Label) -> str:
        """Both directions over each sequence, joined along the first dimension."""
        self._words(call)
        lowering, layer = self.lowering, call.args[0]
        forward = self.apply(layer, value, label.behind("forward"))
        reversed_ = special.over_sequence(lowering, "reverse", value, call)
        reversed_ = self._named(reversed_, label.behind("reversed"), title(layer))
        backward = self.apply(layer, reversed_, label.behind("backward"))
        backward = special.over_sequence(lowering, "reverse", backward, call)
        both = lowering.builder.add("concat", [forward, backward], call.span)
        return self._named(both, label, title(layer))

    def residual(self, call: tree.Call, value: str, label: Label) -> str:
        """What the layer gives, added to what it was given."""
        self._words(call)
        result = self.apply(call.args[0], value, label)
        nodes = self.lowering.builder.nodes
        if nodes[result].type.shape != nodes[value].type.shape:
            fail("shape-clash", "a residual layer gives what it takes: "
                 f"{nodes[value].type} becomes {nodes[result].type}", call.span)  # fmt: skip
        return self.lowering.builder.add("add", [value, result], call.span)

    def stateful(self, call: tree.Call, value: str, label: Label) -> str:
        """A layer whose state is kept from one batch to the next."""
        self._words(call)
        return self.apply(call.args[0], value, replace(label, kept=True))

    def _words(self, call: tree.Call, *known: str) -> dict[str, tree.Expression]:
        words = dict(zip(known, call.args[1:], strict=False))
        twice = len({*words, *dict(call.keywords)}) < len(words) + len(call.keywords)
        words |= dict(call.keywords)
        if twice or not words.keys() <= {*known} or len(call.args) > 1 + len(known):
            names = ", ".join(f"`{name}=`" for name in known) or "nothing but a layer"
            fail("wrong-argument", f"`{call.function}` takes {names}", call.span)
        return words

    def _layer_count(self, given: tree.Expression | None, call: tree.Call) -> int:
        count: Dim | None = None
        if given is not None:
            count = dimension_of(given, self.lowering.model)
            for name in count.names:
                dimension = self.lowering.model.dims.get(name)
                if dimension is not None and dimension.default is not None:
                    self.counts.add(name)
                    count = self._chosen(count, name, dimension.default, call)
        if count is None or count.names or not 1 <= (count.constant or 0) <= MOST_LAYERS:
            hint = "such as `layers=2`, or `layers=L` with `dim L layers = 2`"
            message = f"`stack` needs a number of layers from 1 to {MOST_LAYERS}"
            fail("not-a-dimension", message, call.span, hints=(hint,))
        return count.constant or 0

    def _chosen(self, count: Dim, name: str, size: int, call: tree.Call) -> Dim:
        try:
            chosen = count.substitute({name: Dim.of(size)})
            return chosen if chosen.names else Dim.of(chosen.evaluate({}))
        except (ValueError, ZeroDivisionError):
            message = f"`{count}` is no whole number for {name} = {size}"
            fail("not-a-dimension", message, call.span)

    def _dropped(
        self, value: str, rate: tree.Expression, label: Label, number: int, call: tree.Call
    ) -> str:
        """Dropout on the way up, never on what a layer passes to its next step."""
        stem = "_".join(part for part in (label.states, "dropout", str(number)) if part)
        hidden = tree.Name(stem, call.span)
        dropped = tree.Call("dropout", (hidden, rate), call.span, call.span)
        result = self.lowering.within(dropped, None, {hidden.name: value})
        return self._named(result, label.behind(f"dropped_{number}"), title(call.args[0]))


COMBINATORS: dict[str, Callable[[Layers, tree.Call, str, Label], str]] = {
    "stack": Layers.stack,
    "bidirectional": Layers.bidirectional,
    "residual": Layers.residual,
    "stateful": Layers.stateful,
}

#: What these names mean in a row of layers, where values are sequences.
_OF_SEQUENCES = {"last": "last", "first": "first", "mean": "mean_over", "reverse": "reverse"}
