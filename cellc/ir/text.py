"""The text form of cells and schedules. What is printed parses back to an equal object.

One line holds one node: ``%1 = matmul(%W_f, %v) : [H] over {batch, time}``. One grammar
rule, in ``grammars/ir.lark``, serves every op.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, VisitError

from cellc.diagnostics import CellcError, Source, Span, fail
from cellc.ir.cell import Cell
from cellc.ir.dimension import Dim
from cellc.ir.kernels import Kernel, Product, Reduction, StepPart
from cellc.ir.node import Argument, Attribute, Node, Operation, Result
from cellc.ir.schedule import AtConstruction, AtOnce, Loop, Once, Region, Scan, Schedule
from cellc.ir.types import Type, extent_text, shape_text
from cellc.resources import read_grammar


def print_cell(cell: Cell) -> str:
    """The text of a cell."""
    nodes = [print_node(name, node) for name, node in cell.nodes.items()]
    return "\n".join([f"cell {cell.name}", *_head(cell), *nodes, *_tail(cell)]) + "\n"


def print_schedule(schedule: Schedule) -> str:
    """The text of a schedule: the cell's, with nodes under the regions they run in."""
    cell = schedule.cell
    lines = [f"schedule {cell.name}", *_head(cell)]
    for region in schedule.regions:
        lines.append(_region_text(region))
        lines += _members(cell, region)
    return "\n".join([*lines, *_tail(cell)]) + "\n"


def _members(cell: Cell, region: Region) -> Iterator[str]:
    """The values of a region, those of a loop's step under the parts that they belong to."""
    parts = region.parts if isinstance(region, Loop) else ()
    inside = {name for part in parts for name in part.values}
    for name in region.values:
        if name not in inside:
            yield f"  {print_node(name, cell.nodes[name])}"
    for part in parts:
        if isinstance(part, Kernel):
            saved = f" saves {_names(part.saved)}" if part.saved else ""
            yield f"  kernel {_names(part.inputs)} -> {_names(part.outputs)}{saved}"
            yield from (f"    {print_node(name, cell.nodes[name])}" for name in part.values)
        else:
            kind = "product" if isinstance(part, Product) else "reduction"
            saved = " saved" if part.is_saved else ""
            yield f"  {kind} {print_node(part.value, cell.nodes[part.value])}{saved}"


def _names(values: Iterable[str]) -> str:
    return f"({', '.join(f'%{name}' for name in values)})"


def print_node(name: str, node: Node) -> str:
    """One node as a line of text."""
    args = ", ".join(f"%{argument}" for argument in node.args)
    attrs = ", ".join(f"{key}={_attribute_text(value)}" for key, value in node.attrs)
    braces = f" {{{attrs}}}" if attrs else ""
    return f"%{name} = {node.op.name}({args}){braces} : {node.type}"


def parse_cell(text: str, operations: Mapping[str, Operation]) -> Cell:
    """The cell that the text describes; the reverse of :func:`print_cell`.

    Raises CellcError ``bad-ir`` where the text does not parse or names an unknown op.
    """
    result: Cell = _parse(text, "cell", operations)
    return result


def parse_schedule(text: str, operations: Mapping[str, Operation]) -> Schedule:
    """The schedule that the text describes; the reverse of :func:`print_schedule`."""
    result: Schedule = _parse(text, "schedule", operations)
    return result


def _head(cell: Cell) -> list[str]:
    lines = [f"description {_quoted(cell.description)}"] if cell.description else []
    lines += [f"kind {cell.kind}"] if cell.kind != "cell" else []
    lines += [f"family {_quoted(cell.family)}"] if cell.family else []
    lines += [f"from {base}" for base in cell.lineage]
    lines += [f"cite {_quoted(citation)}" for citation in cell.citations]
    lines += [f"axis {name} {length}" for name, length in cell.axes.items()]
    lines += [f"applies {name} as %{label}" for label, name in cell.applied.items()]
    lines += [f"inside %{label} %{name}" for name, label in cell.inside.items()]
    for name, place in cell.places.items():
        lines.append(f"place %{name} {' '.join(map(str, place))}")
    for name, argument in cell.dims.items():
        default = "" if argument.default is None else f" = {argument.default}"
        fixed = " fixed" if argument.fixed else ""
        lines.append(f"dim {name} {argument.name}{default}{fixed}")
    return lines


def _tail(cell: Cell) -> list[str]:
    lines = [f"note %{name} {_quoted(text)}" for name, text in cell.comments.items()]
    return lines + [f"{r.role} %{r.name} = %{r.value}" for r in cell.results]


def _region_text(region: Region) -> str:
    if isinstance(region, Once):
        return "once"
    if isinstance(region, AtConstruction):
        return "at construction"
    if isinstance(region, AtOnce):
        return f"at once over {extent_text(region.extent)}"
    carried = ", ".join(f"%{state}" for state in region.carries)
    form = region.recurrence.replace(" ", "_")
    way = " backward" if region.backward else ""
    if isinstance(region, Scan):
        always = " always" if region.always else ""
        return (
            f"scan {region.axis}{way} over {extent_text(region.extent)} carrying {carried} "
            f"times %{region.factor} plus %{region.term}{always}"
        )
    return (
        f"loop {region.axis}{way} over {extent_text(region.extent)} carrying {carried} "
        f"is {form} depth {region.depth}"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _attribute_text(value: Attribute) -> str:
    if isinstance(value, Dim):
        return f"({value})"
    if isinstance(value, tuple):
        return shape_text(value)
    return _quoted(value) if isinstance(value, str) else repr(value)


@cache
def _parser() -> Lark:
    return Lark(
        read_grammar("ir"), parser="lalr", start=["cell", "schedule"], maybe_placeholders=False
    )


def _parse(text: str, start: str, operations: Mapping[str, Operation]) -> Any:
    try:
        parsed = _parser().parse(text, start=start)
    except UnexpectedInput as error:
        position = min(error.pos_in_stream or 0, max(0, len(text) - 1))
        span = Span(Source("ir", text), position, position + 1)
        fail("bad-ir", "the text is no cell in the IR's form", span)
    unknown = [str(name) for name in parsed.scan_values(_is_op) if name not in operations]
    if unknown:
        fail("bad-ir", f"the op `{unknown[0]}` is not known")
    try:
        return _Reader(operations).transform(parsed)
    except VisitError as error:
        if isinstance(error.orig_exc, CellcError):
            raise error.orig_exc from None
        raise


def _is_op(token: object) -> bool:
    return isinstance(token, Token) and token.type == "OP"


class _Reader(Transformer[Token, Any]):
    """Builds cells from Lark's tree; each method is named after its grammar rule."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        super().__init__()
        self.operations = operations

    def VALUE(self, token: Token) -> str:
        return str(token)[1:]

    def STRING(self, token: Token) -> str:
        return str(json.loads(token))

    def NAME(self, token: Token) -> str:
        return str(token)

    def INT(self, token: Token) -> int:
        return int(token)

    def number(self, children: list[Any]) -> int | float:
        text = str(children[0])
        return int(text) if text.lstrip("-").isdigit() else float(text)

    def true(self, children: list[Any]) -> bool:
        return True

    def false(self, children: list[Any]) -> bool:
        return False

    def size(self, children: list[Any]) -> Dim:
        return Dim.of(children[0])

    def plus(self, children: list[Any]) -> Dim:
        return Dim.of(children[0] + children[1])

    def minus(self, children: list[Any]) -> Dim:
        return Dim.of(children[0] - children[1])

    def times(self, children: list[Any]) -> Dim:
        return Dim.of(children[0] * children[1])

    def over(self, children: list[Any]) -> Dim:
        return Dim.of(children[0] / children[1])

    def raised(self, children: list[Any]) -> Dim:
        total = Dim.of(1)
        for _ in range(children[1]):
            total = total * children[0]
        return total

    def negative(self, children: list[Any]) -> Dim:
        return Dim.of(children[0] * -1)

    def extent(self, children: list[Any]) -> frozenset[str]:
        return frozenset(children)

    def shape(self, children: list[Any]) -> tuple[Dim, ...]:
        return tuple(children)

    def type(self, children: list[Any]) -> Type:
        *dtype, shape, extent = children
        return Type(shape, extent, str(dtype[0]) if dtype else "real")  # type: ignore[arg-type]

    def attribute(self, children: list[Any]) -> tuple[str, Attribute]:
        return children[0], children[1]

    def attributes(self, children: list[Any]) -> tuple[tuple[str, Attribute], ...]:
        return tuple(children)

    def arguments(self, children: list[Any]) -> tuple[str, ...]:
        return tuple(children)

    def node(self, children: list[Any]) -> tuple[str, Node]:
        name, op, args, *attrs, type_ = children
        return name, Node(self.operations[str(op)], args, type_, attrs[0] if attrs else ())

    def description(self, children: list[Any]) -> dict[str, Any]:
        return {"description": children[0]}

    def kind(self, children: list[Any]) -> dict[str, Any]:
        return {"kind": children[0]}

    def family(self, children: list[Any]) -> dict[str, Any]:
        return {"family": children[0]}

    def lineage(self, children: list[Any]) -> dict[str, Any]:
        return {"lineage": children[0]}

    def cite(self, children: list[Any]) -> dict[str, Any]:
        return {"cite": children[0]}

    def dim(self, children: list[Any]) -> dict[str, Any]:
        default = children[2] if len(children) > 2 else None
        return {"dim": (children[0], Argument(children[1], default))}

    def fixed_dim(self, children: list[Any]) -> dict[str, Any]:
        return {"dim": (children[0], Argument(children[1], children[2], fixed=True))}

    def axis(self, children: list[Any]) -> dict[str, Any]:
        return {"axis": (children[0], children[1])}

    def inside(self, children: list[Any]) -> dict[str, Any]:
        return {"inside": (children[1], children[0])}

    def place(self, children: list[Any]) -> dict[str, Any]:
        return {"place": (children[0], tuple(children[1:]))}

    def applied(self, children: list[Any]) -> dict[str, Any]:
        return {"applied": (children[1], children[0])}

    def note(self, children: list[Any]) -> dict[str, Any]:
        return {"note": (children[0], children[1])}

    def result(self, children: list[Any]) -> Result:
        return Result(str(children[0]), children[1], children[2])  # type: ignore[arg-type]

    def once(self, children: list[Any]) -> Once:
        return Once(())

    def at_construction(self, children: list[Any]) -> AtConstruction:
        return AtConstruction(())

    def at_once(self, children: list[Any]) -> AtOnce:
        return AtOnce((), children[0])

    def loop(self, children: list[Any]) -> Loop:
        axis, extent, carries, form, depth = children
        return Loop((), axis, carries, form.replace("_", " "), depth, extent)

    def backward_loop(self, children: list[Any]) -> Loop:
        return replace(self.loop(children), backward=True)

    def step(self, children: list[Any]) -> tuple[list[str], bool]:
        return children, False

    def step_always(self, children: list[Any]) -> tuple[list[str], bool]:
        return children, True

    def scan(self, children: list[Any]) -> Scan:
        axis, extent, ((state, factor, term), always) = children
        return Scan(
            (), axis, (state,), "diagonal affine", 0, extent,
            factor=factor, term=term, always=always,
        )  # fmt: skip

    def backward_scan(self, children: list[Any]) -> Scan:
        return replace(self.scan(children), backward=True)

    def cell(self, children: list[Any]) -> Cell:
        return _assemble(children[0], children[1:])

    def kernel(self, children: list[Any]) -> Kernel:
        inputs, outputs, *saved = children
        return Kernel((), inputs, outputs, *saved)

    def alone(self, children: list[Any]) -> list[Any]:
        kind, node, *saved = children
        part = Product if kind == "product" else Reduction
        return [part(node[0], bool(saved)), node]

    def schedule(self, children: list[Any]) -> Schedule:
        items = [i for child in children[1:] for i in (child if type(child) is list else [child])]
        regions: list[Region] = []
        for item in items:
            if isinstance(item, Region):
                regions.append(item)
            elif isinstance(item, tuple | StepPart):
                if not regions or (
                    not isinstance(item, tuple) and not isinstance(regions[-1], Loop)
                ):
                    fail("bad-ir", "a value is in no region, or a part of a step in no loop")
                regions[-1] = _with(regions[-1], item)
        return Schedule(_assemble(children[0], items), tuple(regions))


def _with(region: Region, item: tuple[str, Node] | StepPart) -> Region:
    """A region with one more value, which goes into the kernel above it, or with one more part."""
    if not isinstance(item, tuple):
        assert isinstance(region, Loop)
        return replace(region, parts=(*region.parts, item))
    name = item[0]
    region = replace(region, values=(*region.values, name))
    last = region.parts[-1] if isinstance(region, Loop) and region.parts else None
    if isinstance(region, Loop) and isinstance(last, Kernel):
        kernel = replace(last, values=(*last.values, name))
        return replace(region, parts=(*region.parts[:-1], kernel))
    return region


def _assemble(name: str, items: Iterable[Any]) -> Cell:
    kinds = ("description", "kind", "family", "lineage", "cite", "axis", "applied", "inside",
             "place", "dim", "note")  # fmt: skip
    facts: dict[str, list[Any]] = {kind: [] for kind in kinds}
    nodes: dict[str, Node] = {}
    results: list[Result] = []
    for item in items:
        if isinstance(item, Result):
            results.append(item)
        elif isinstance(item, dict):
            for key, value in item.items():
                facts[key].append(value)
        elif isinstance(item, tuple):
            nodes[item[0]] = item[1]
    return Cell(
        name,
        nodes,
        tuple(results),
        dict(facts["dim"]),
        "".join(facts["description"]),
        tuple(facts["cite"]),
        dict(facts["note"]),
        "network" if facts["kind"] else "cell",
        "".join(facts["family"]),
        tuple(facts["lineage"]),
        dict(facts["applied"]),
        dict(facts["inside"]),
        dict(facts["axis"]),
        dict(facts["place"]),
    )
