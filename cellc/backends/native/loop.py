"""A loop of a schedule as functions in C++."""

from __future__ import annotations

from functools import partial

from cellc.backends.native.ahead import ahead
from cellc.backends.native.frame import Frame
from cellc.backends.native.lanes import LanesWriter
from cellc.backends.native.stages import Lanes, Whole
from cellc.backends.native.values import ValueWriter, plus
from cellc.backends.native.whole import broadcast, row_by_row
from cellc.backends.native.writer import Code
from cellc.ops import TABLE


class LoopWriter(ValueWriter):
    """Writes one loop of a schedule."""

    def code(self) -> Code:
        """A struct of its arguments, its stages, and the functions that run them."""
        code = Code()
        frame = Frame(self, code)
        frame.struct()
        for number, name in enumerate(self.memory.arguments.ahead):
            code("")
            ahead(self, code, number, name)
        for number, stage in enumerate(self.step.stages):
            code("")
            if isinstance(stage, Lanes):
                LanesWriter(self, code, number, stage).write()
            else:
                self._whole(code, number, stage)
        code("")
        frame.work()
        code("")
        frame.entry()
        for number, packed in enumerate(self.memory.arguments.packed):
            code("")
            frame.pack(number, packed)
        return code

    def _whole(self, code: Code, number: int, stage: Whole) -> None:
        """A stage that computes a value row by row."""
        head = f"const {self.name}_given &a, const Step &s, Range rows, Range"
        node = self.cell.nodes[stage.value]
        with (
            code.block(f"SHARED void {self.name}_stage_{number}({head})"),
            code.block("for (int64_t r = rows.begin; r < rows.end; r++)"),
        ):
            code("const int64_t row = s.first + r;", "(void)row;")
            operands = [self._address(code, k, operand) for k, operand in enumerate(node.args)]
            targets = self.memory.targets(stage.value)
            into, when = min(targets, key=lambda target: target[1] != "")
            if when:
                code(f"if (!{when}) continue;")
            code(f"real *const to = {into};")
            types = [self.cell.nodes[argument].type for argument in node.args]
            if TABLE[node.op.name].kind == "elementwise":
                broadcast(code, node, types, operands, partial(self.expression, node))
            else:
                row_by_row(code, node, types, operands)
            for target, condition in targets:
                copy = f"memcpy({target}, to, {self.memory.size(stage.value)}*sizeof(real));"
                if target != into:
                    code(f"if ({condition}) {copy}" if condition else copy)

    def _address(self, code: Code, place: int, operand: str) -> str:
        """Where an operand's numbers are, one behind the other."""
        known = self.known(operand)
        if known is not None:
            code(f"const real number_{place} = ({known})[0];")
            return f"(&number_{place})"
        name, start = self.in_one_piece(operand)
        return f"({self.memory.source(name)}{plus(start)})"
