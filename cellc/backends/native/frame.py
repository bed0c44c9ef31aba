"""What surrounds the stages of a loop in C++: its arguments, its steps, its entry."""

from __future__ import annotations

from cellc.backends.native.arguments import Packed
from cellc.backends.native.cpp import dimension
from cellc.backends.native.meeting import meetings
from cellc.backends.native.memory import blocks_of
from cellc.backends.native.stages import Lanes
from cellc.backends.native.values import ValueWriter
from cellc.backends.native.writer import Code
from cellc.ir import Dim


class Frame:
    """Writes the struct of a loop's arguments and the functions that run its steps."""

    def __init__(self, values: ValueWriter, code: Code) -> None:
        self.values, self.code, self.name = values, code, values.name
        self.memory, self.stages = values.memory, values.step.stages
        self.arguments, self.names = self.memory.arguments, self.memory.names

    def struct(self) -> None:
        """The arguments by name."""
        arguments, names, told = self.arguments, self.names, self.values.told
        code = self.code
        with code.block(f"struct {self.name}_given", "};"):
            code("int64_t steps, batch, by_rows, training;", "const int64_t *counts;")
            if arguments.dims:
                code(f"int64_t {', '.join(arguments.dims)};")
            code.all(f"real {names[name]};" for name in arguments.numbers)
            for name in arguments.rows:
                code(f"const real *{names[name]};{told(name)}", f"int64_t {names[name]}_stride;")
            code.all(f"const real *{names[name]};{told(name)}" for name in arguments.others)
            code.all(f"const real *{packed.name};" for packed in arguments.packed)
            outputs = ((self.memory.output(name), told(name)) for name in arguments.outputs)
            code.all(f"real *{field};{comment}" for field, comment in outputs)
            code.all(f"real *{names[name]}[2];{told(name)}" for name in arguments.states)
            code.all(f"real *{names[name]}_here[2];" for name in arguments.local)
            code.all(f"real *{names[name]};{told(name)}" for name in arguments.ahead)

    def work(self) -> None:
        """What one member of a team does."""
        code = self.code
        with code.block(f"static void {self.name}_work(void *given, int64_t member, Team &team)"):
            code(f"const {self.name}_given &a = *(const {self.name}_given *)given;")
            code("const Range own = part(a.batch, 1, member, team.size);", "(void)own;")
            self._ranges()
            if self.arguments.ahead:
                self._blocks()
            else:
                code("const int64_t origin = 0, begin = 0, end = a.steps;")
                self._steps()

    def _ranges(self) -> None:
        """The places that the member has, where the team shares them."""
        for k, length in enumerate(self._lengths()):
            stages = [s for s in self.stages if isinstance(s, Lanes) and s.length == length]
            unit = max(map(blocks_of, stages))
            whole = dimension(length)
            self.code(f"const Range lanes_{k} = a.by_rows ? Range{{0, {whole}}}",
                      f"    : part({whole}, {unit}*LANES, member, team.size);")  # fmt: skip

    def _lengths(self) -> list[Dim]:
        return list(dict.fromkeys(s.length for s in self.stages if isinstance(s, Lanes)))

    def _blocks(self) -> None:
        """The steps in blocks, before each of which products for all its rows are computed."""
        code, name = self.code, self.name
        with code.block("for (int64_t begin = 0, end; begin < a.steps; begin = end)"):
            code("int64_t origin, count;",
                 f"end = block_from(begin, a.batch, a.counts, a.steps, {self._backward}, "
                 "&origin, &count);",
                 "const Range share = part(count, 12, member, team.size);")  # fmt: skip
            for k in range(len(self.arguments.ahead)):
                code(f"{name}_ahead_{k}(a, origin, share);")
            code("team.meet();")
            self._steps()
            code("team.meet();")

    def _steps(self) -> None:
        code, lengths = self.code, self._lengths()
        with code.block("for (int64_t k = begin; k < end; k++)"):
            t = "a.steps - 1 - k" if self.values.loop.backward else "k"
            code(f"const Step s = step_at({t}, k, a.batch, a.counts, a.steps, origin);",
                 "const Range all_rows = {0, s.count};",
                 "const Range rows = a.by_rows ? below(own, s.count) : all_rows;",
                 "const Range shared = a.by_rows ? rows : part(s.count, 1, member, team.size);",
                 "(void)shared;")  # fmt: skip
            waits = meetings(self.memory)
            for number, stage in enumerate(self.stages):
                if number in waits:
                    code("if (!a.by_rows) team.meet();")
                ranges = "shared, shared"
                if isinstance(stage, Lanes):
                    ranges = f"rows, lanes_{lengths.index(stage.length)}"
                code(f"{self.name}_stage_{number}(a, s, {ranges});")

    @property
    def _backward(self) -> str:
        return "true" if self.values.loop.backward else "false"

    def entry(self) -> None:
        """The function that the caller calls."""
        code, arguments, names, size = self.code, self.arguments, self.names, self.memory.size
        with code.block(
            f"EXPORT int {self.name}(const int64_t *sizes, const double *numbers, "
            "void *const *arrays)"
        ):
            code(f"{self.name}_given a;", "const int64_t threads = sizes[2];",
                 "a.steps = sizes[0], a.batch = sizes[1], a.by_rows = sizes[3];",
                 "a.training = sizes[4], a.counts = (const int64_t *)*arrays++, sizes += 5;",
                 "(void)numbers;")  # fmt: skip
            code.all(f"a.{dim} = *sizes++;" for dim in arguments.dims)
            code.all(f"a.{names[name]} = (real)*numbers++;" for name in arguments.numbers)
            for name in arguments.rows:
                code(f"a.{names[name]} = (const real *)*arrays++;",
                     f"a.{names[name]}_stride = *sizes++;")  # fmt: skip
            code.all(f"a.{names[n]} = (const real *)*arrays++;" for n in arguments.others)
            code.all(f"a.{packed.name} = (const real *)*arrays++;" for packed in arguments.packed)
            code.all(f"a.{self.memory.output(n)} = (real *)*arrays++;" for n in arguments.outputs)
            self._reserve()
            code.all(f"begin(a.{names[n]}, (const real *)*arrays++, {size(n)}*a.batch);"
                     for n in arguments.states)  # fmt: skip
            code(f"together(threads, {self.name}_work, &a);")
            code.all(f"finish<{self._backward}>(a.{names[n]}, (real *)*arrays++, {size(n)}, "
                     "a.batch, a.counts, a.steps);" for n in arguments.states)  # fmt: skip
            code("free(memory);", "return 0;")

    def _reserve(self) -> None:
        """The memory for what stays within the loop, each value twice but for blocks of rows."""
        code, arguments, size = self.code, self.arguments, self.memory.size
        twice = [(f"a.{self.names[n]}", n) for n in arguments.states]
        twice += [(f"a.{self.names[n]}_here", n) for n in arguments.local]
        counts = [f"2*rounded({size(n)}*a.batch)" for _, n in twice]
        counts += [f"rounded({size(n)}*most_block(a.batch))" for n in arguments.ahead]
        code(f"real *const memory = reserved({' + '.join(counts) or '0'});",
             "real *rest = memory;", "if (!memory) return 1;")  # fmt: skip
        for target, n in twice:
            count = f"rounded({size(n)}*a.batch)"
            code(f"{target}[0] = rest, {target}[1] = rest + {count}, rest += 2*{count};")
        for n in arguments.ahead:
            code(f"a.{self.names[n]} = rest, rest += rounded({size(n)}*most_block(a.batch));")

    def pack(self, number: int, packed: Packed) -> None:
        """The function that puts a weight in panels."""
        code = self.code
        with code.block(
            f"EXPORT int64_t {self.name}_pack_{number}(int64_t threads, const int64_t *sizes, "
            "const real *weight, real *to)"
        ):
            code.all(f"const int64_t {d} = *sizes++; (void){d};" for d in self.arguments.dims)
            starts = ", ".join(dimension(start, "") for start in packed.starts)
            size, depth = dimension(packed.size, ""), dimension(packed.depth, "")
            strides = f"1, {size}" if packed.transposed else f"{depth}, 1"
            code(f"const int64_t starts[] = {{{starts}}};",
                 f"return pack(threads, {{weight, {strides}, starts, {len(packed.starts)}, "
                 f"{dimension(packed.length, '')}, {depth}, {packed.blocks}, to}});")  # fmt: skip
