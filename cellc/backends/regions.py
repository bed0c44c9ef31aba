"""The statements of a region: how its values are spelled and what they refer to."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from os.path import basename

from cellc.backends import pyast
from cellc.backends.axes import axes_of, words
from cellc.backends.naming import Identifiers
from cellc.backends.pyast import Item, Line, fill, quote
from cellc.backends.spelling import Speller, call_arguments, dimension
from cellc.ir import NOWHERE, AtOnce, Cell, Dim, Loop, Node, Once, Region, Schedule
from cellc.ir.types import Shape, positions, sequence_axis, shape_text
from cellc.ops import TABLE
from cellc.ops.transposed import summed_axes


class RegionWriter:
    """Writes the statements of a schedule's regions.

    A backend refines how parameters are reached, how numbers enter calls, and what
    surrounds the regions. Values ``known`` have their identifiers already, and those
    ``taken`` belong to something else. ``steps_used`` collects the values of other regions that
    the loop being written reads step by step; ``watched`` are values that a trace shows,
    ``saved`` those that the derivative reads.
    """

    reserved: tuple[str, ...] = ()

    def __init__(
        self,
        schedule: Schedule,
        speller: Speller,
        known: Mapping[str, str] | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        self.schedule, self.cell, self.speller = schedule, schedule.cell, speller
        self.axes = axes_of(schedule)
        reserved = [*self.reserved, *self.cell.dims, *words(self.axes)]
        self.ids = Identifiers(self.cell, [*reserved, *taken], known)
        self.region_of: dict[str, Region] = {
            name: region for region in schedule.regions for name in region.values
        }
        self.region: Region | None = None
        self.steps_used: dict[str, str] = {}
        self.helpers: dict[str, str] = {}
        self._numbers: dict[str, ast.expr | None] = {}
        self._inline: dict[str, bool] = {}
        self.starting = False
        self.watched: frozenset[str] = frozenset()
        self.saved: frozenset[str] = frozenset()

    # what a backend refines

    def param(self, name: str) -> ast.expr:
        """The expression that reaches a parameter."""
        raise NotImplementedError

    def option(self, name: str) -> ast.expr:
        """The expression that reaches a number given to the constructor."""
        return ast.Attribute(pyast.name("self"), self.ids[name], ast.Load())

    def call_argument(self, name: str, value: ast.expr) -> ast.expr:
        """A Python number as the argument of an array function."""
        return value

    def spread(self, name: str, value: ast.expr) -> ast.expr:
        """A value that varies along fewer axes than the region, repeated along the others."""
        raise NotImplementedError

    def held(self, name: str, value: ast.expr) -> ast.expr:
        """A value per sequence as seen from a region along an axis."""
        return value

    @property
    def like(self) -> ast.expr | None:
        """A value that has the type of numbers, and the place, that new ones are to have."""
        return None

    def along(self, axis: str) -> dict[str, pyast.Binding]:
        """What the spellings of ops over whole sequences may name, for an axis."""
        return {}

    def shift(self, name: str) -> list[Item]:
        """The statements for a state of no loop: its sequence and its last value."""
        raise NotImplementedError

    def ended(self, node: Node) -> ast.expr:
        """The value of a state when its loop has ended; none flows into a start not used."""
        state = node.args[0]
        value = self.own_order(pyast.name(self.ids[state]), state)
        if not dict(node.attrs).get("start"):
            return value
        return quote("d * 0 if given else d", d=value, given=f"{self.ids[state]}_given")

    def own_order(self, value: ast.expr, state: str) -> ast.expr:
        """What a loop leaves of each sequence, in the order in which the caller has them."""
        return value

    # statements

    def statements(self, region: Region, names: Iterable[str] | None = None) -> list[Item]:
        """The statements that compute a region's values, or those named, in order."""
        self.region = region
        items: list[Item] = []
        for name in region.values if names is None else names:
            if not self.is_silent(name):
                items += self.statement(name)
            elif self.is_shift(name):
                items += self.shift(name)
        return items

    def statement(self, name: str) -> list[Item]:
        """The statement that computes one value, with where it comes from."""
        value = self.spelled(name)
        return [Line(pyast.assign(self.target(name), value), self.comment(name))]

    def target(self, name: str) -> str:
        """What a value is assigned to."""
        return self.ids[name]

    def is_silent(self, name: str) -> bool:
        """Whether a value needs no statement: a leaf, a number, or part of its user."""
        node = self.cell.nodes[name]
        return node.op.leaf or self.number(name) is not None or self.is_inline(name)

    def is_inline(self, name: str) -> bool:
        """Whether a value is written inside the expression of its only user."""
        if name not in self._inline:
            self._inline[name] = self._belongs_inside(name)
        return self._inline[name]

    def _belongs_inside(self, name: str) -> bool:
        leaf = self.cell.nodes[name].op.leaf
        named = leaf or not name.isdigit() or name in self.watched | self.saved
        if named or self.cell.uses[name] != 1:
            return False
        users = list(self.cell.graph.successors(name))
        if len(users) != 1 or self.region_of.get(users[0]) is not self.region_of.get(name):
            return False
        user = self.cell.nodes[users[0]]
        if self.number(users[0]) is not None:
            return False
        template = self.template(user)
        placeholder = TABLE[user.op.name].operand_names(len(user.args))[user.args.index(name)]
        names = [part.id for part in ast.walk(template) if isinstance(part, ast.Name)]
        return names.count(placeholder) == 1

    def template(self, node: Node) -> ast.expr:
        types = [self.cell.nodes[argument].type for argument in node.args]
        return self.speller.spelling(node, types)

    def spelled(self, name: str) -> ast.expr:
        """The expression that computes a value."""
        node = self.cell.nodes[name]
        if node.op.name == "final":
            return self.ended(node)
        template = self.template(node)
        self._help(node)
        bindings: dict[str, pyast.Binding] = {}
        in_call = call_arguments(template)
        names = TABLE[node.op.name].operand_names(len(node.args))
        for placeholder, argument in zip(names, node.args, strict=True):
            value = self.operand(argument, node)
            if placeholder in in_call and self.number(argument) is not None:
                value = self.call_argument(argument, value)
            bindings[placeholder] = value
        for key, attribute in node.attrs:
            bindings[key] = self.attribute(attribute)
        bindings["training"] = quote(self.speller.mode)
        if not node.args and self.like is not None:
            bindings["like"] = self.like
        axis = _axis_along(node)
        if axis is not None:
            bindings |= self.along(axis)
        return _tidy(fill(template, **bindings), node, self.cell)

    def operand(self, name: str, user: Node) -> ast.expr:
        """A value as an operand, with dimensions inserted where the user's shape has more."""
        value = self.reference(name, held=TABLE[user.op.name].kind != "sequence")
        node = self.cell.nodes[name]
        if TABLE[user.op.name].kind == "elementwise":
            return aligned(value, node.type.shape, user.type.shape, bool(node.type.extent))
        if node.type.extent < user.type.extent and _needs_all(user):
            return self.spread(name, value)
        return value

    def reference(self, name: str, held: bool = True) -> ast.expr:
        """A value as seen from the region being written.

        One per sequence is ``held`` at every step, but for an op that does that itself.
        """
        number = self.number(name)
        if number is not None:
            return number
        node = self.cell.nodes[name]
        if node.op.name == "param":
            return self.param(name)
        if node.op.name == "option":
            return self.option(name)
        if self.is_inline(name):
            return self.spelled(name)
        home = self.region_of.get(name)
        axis = sequence_axis(node.type.extent)
        varies = not isinstance(home, Once) and axis is not None
        if home is not self.region and isinstance(self.region, Loop) and varies:
            return pyast.name(self.steps_used.setdefault(name, f"{self.whole(name)}_t"))
        if home is not self.region or self.is_shift(name):
            value = pyast.name(self.whole(name))
            inside = self.region is not None and sequence_axis(self.region.extent) is not None
            per_sequence = axis is None and node.type.extent != NOWHERE
            return self.held(name, value) if held and inside and per_sequence else value
        return pyast.name(self.ids[name])

    def is_shift(self, name: str) -> bool:
        """Whether a value is a state of no loop: the sequence of another, one step later."""
        home = self.region_of.get(name)
        return self.cell.nodes[name].op.name == "state" and isinstance(home, AtOnce)

    def whole(self, name: str) -> str:
        """The identifier of a value over its whole extent, outside the loop it is in."""
        if self.cell.nodes[name].op.name == "state":
            return f"{self.ids[name]}_before"
        in_loop = isinstance(self.region_of.get(name), Loop)
        return f"{self.ids[name]}_all" if in_loop else self.ids[name]

    def number(self, name: str) -> ast.expr | None:
        """The expression of a value that is a Python number, else None."""
        if name not in self._numbers:
            waiting = [name]
            while waiting:  # operands first, so that long chains do not recurse
                missing = [a for a in self.cell.nodes[waiting[-1]].args if a not in self._numbers]
                if missing:
                    waiting += missing
                else:
                    known = waiting.pop()
                    self._numbers[known] = self._number(known)
        return self._numbers[name]

    def _number(self, name: str) -> ast.expr | None:
        node = self.cell.nodes[name]
        if node.op.name == "const":
            return pyast.literal(node.attr("value"))  # type: ignore[arg-type]
        if node.op.name == "option":
            return self.option(name)
        if node.op.name == "size":
            dim = node.attr("dim")
            assert isinstance(dim, Dim)
            return dimension(dim)
        operands = [self._numbers[argument] for argument in node.args]
        if not operands or any(value is None for value in operands):
            return None
        template = self.speller.number(node)
        if template is None:
            return None
        names = TABLE[node.op.name].operand_names(len(operands))
        pairs = {n: value for n, value in zip(names, operands, strict=True) if value is not None}
        return fill(template, **pairs)

    def needed_later(self, loop: Loop) -> list[str]:
        """Values of a loop that are read outside it, over their whole extent."""
        inside = set(loop.values)
        outputs = {*self.cell.values("output").values(), *self.watched}
        outputs |= {v for s, v in self.cell.values("next").items() if self.is_shift(s)}
        return [
            name
            for name in loop.values
            if name in outputs or any(u not in inside for u in self._readers(name))
        ]

    def _readers(self, name: str) -> Iterable[str]:
        """The values that read another step by step or over its whole extent."""
        return (
            u for u in self.cell.graph.successors(name) if self.cell.nodes[u].op.name != "final"
        )

    def _help(self, node: Node) -> None:
        helper = self.speller.helper(node)
        if helper is not None:
            self.helpers[node.op.name] = helper

    def attribute(self, attribute: object) -> ast.expr:
        """The expression of a node's attribute, or of a shape."""
        if isinstance(attribute, Dim):
            return dimension(attribute)
        if isinstance(attribute, tuple):
            return ast.Tuple([dimension(dim) for dim in attribute], ast.Load())
        return ast.Constant(attribute)  # type: ignore[arg-type]

    # comments

    def comment(self, *names: str) -> str:
        """Shape, documentation and origin of values, for the end of a line."""
        shapes = dict.fromkeys(shape_text(self.cell.nodes[name].type.shape) for name in names)
        shape = ", ".join(shapes)
        notes = [self.cell.comments[name] for name in names if name in self.cell.comments]
        parts = [shape, ", ".join(notes), self.origin(names)]
        return "  ".join(part for part in parts if part)

    def origin(self, names: Iterable[str]) -> str:
        """``lstm.cell:8-10`` for the places that values come from."""
        lines: dict[str, set[int]] = {}
        pending = list(names)
        while pending:
            name = pending.pop()
            for span in self.cell.nodes[name].spans:
                lines.setdefault(basename(span.source.name), set()).add(span.line)
            pending.extend(a for a in self.cell.nodes[name].args if self.is_inline(a))
        return ", ".join(f"{file}:{_ranges(found)}" for file, found in sorted(lines.items()))


def _axis_along(node: Node) -> str | None:
    """The axis whose sequences an op runs over, if it is such an op."""
    kind, attrs = TABLE[node.op.name].kind, dict(node.attrs)
    if kind == "total":
        return sequence_axis(summed_axes(attrs))
    axis = attrs.get("axis")
    return axis if isinstance(axis, str) else None


def _needs_all(user: Node) -> bool:
    """Whether an op reads all its operands along the axes of its result."""
    return user.op.name in ("concat", "stack", "window")


def _ranges(numbers: set[int]) -> str:
    """``8-10, 12`` for a set of line numbers."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def aligned(value: ast.expr, inner: Shape, outer: Shape, varies: bool) -> ast.expr:
    """A value with new dimensions where the outer shape has one that it lacks."""
    if inner == outer or (not inner and not varies):
        return value
    kept = positions(inner, outer) or ()
    index: list[ast.expr] = [ast.Constant(...)]
    for place in range(len(outer)):
        index.append(ast.Slice() if place in kept else ast.Constant(None))
    return ast.Subscript(value, ast.Tuple(index, ast.Load()), ast.Load())


def _tidy(value: ast.expr, node: Node, cell: Cell) -> ast.expr:
    """``a[..., :H]`` rather than ``a[..., 0:H]``, and no end where it is the whole's."""
    if node.op.name != "slice":
        return value
    whole = cell.nodes[node.args[0]].type.shape
    axis = dict(node.attrs).get("axis", 0)
    assert isinstance(axis, int)
    for part in ast.walk(value):
        if isinstance(part, ast.Slice) and part.lower is not None and part.upper is not None:
            part.lower = None if node.attr("start") == Dim.of(0) else part.lower
            part.upper = None if node.attr("stop") == whole[axis] else part.upper
            break
    return value
