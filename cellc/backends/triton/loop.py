"""A loop of a schedule in Triton: its kernels, and the function that a call of it is."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from cellc.backends import pyast
from cellc.backends.native.places import size_of
from cellc.backends.native.stages import Gemm
from cellc.backends.pyast import Blank, Block, Item, Line, lines, quote_statements
from cellc.backends.triton.alone import alone
from cellc.backends.triton.fused import FusedKernel
from cellc.backends.triton.kernel import NotInside, output, sizes_of
from cellc.backends.triton.room import Room, in_tuple
from cellc.backends.triton.scan import ScanKernel
from cellc.backends.triton.stepwise import StepKernel, buffer, table_of
from cellc.backends.triton.values import LoopValues, text_of
from cellc.diagnostics import fail
from cellc.ir import Loop, Scan, Schedule


class DeviceLoop(LoopValues):
    """Writes one loop: one step after the other, and inside one kernel where that can be.

    Raises CellcError ``missing-spelling`` for what kernels cannot compute.

    Attributes:
        inside: the kernel with the loop inside, if there can be one.
        kernels: those of one step, for each launch; there are none where no product makes
            a loop with a kernel of its own too large for that.
    """

    def __init__(
        self, schedule: Schedule, loop: Loop, name: str,
        always: Iterable[str], saved: Iterable[str], known: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(schedule, loop, name, always, saved, known)
        self.room = Room(self)
        self.inside = self._inside()
        self.kernels: list[StepKernel | None] = []
        if self.is_stepwise:
            self.kernels = [
                None if launch.alone else StepKernel(self, number, launch)
                for number, launch in enumerate(self.step.launches)
            ]

    def _inside(self) -> FusedKernel | ScanKernel | None:
        try:
            return ScanKernel(self) if isinstance(self.loop, Scan) else FusedKernel(self)
        except NotInside:
            if isinstance(self.loop, Scan):
                fail("missing-spelling", f"kernels cannot scan `{self.loop.carries[0]}`")
            return None

    @property
    def is_stepwise(self) -> bool:
        """Whether the loop can run one step after the other."""
        return self.inside is None or self.inside.kind == "fused"

    @property
    def tensors(self) -> dict[str, str]:
        """What a call gives, in order: the values, by what they are called in the function.

        These are values outside, weights, and what states start with.
        """
        outside = self.outside
        names = [*outside.rows, *outside.held, *outside.fixed, *outside.shifts]
        names += [*outside.weights, *self.room.constants]
        found = {self.ids[name]: name for name in names}
        return found | {f"{self.ids[state]}_start": state for state in self.loop.carries}

    def items(self) -> Iterator[Item]:
        """The statements of the emitted file."""
        step = [kernel for kernel in self.kernels if kernel is not None and kernel.is_needed]
        for kernel in (*step, *([self.inside] if self.inside else [])):
            yield from _decorated(kernel.decorators(), kernel.block)
        if self.is_stepwise:
            yield from _decorated([_JIT_TABLE], self.room.table())
            launched = self._step()
            yield from (self.room.memory(), Blank(2), launched, Blank(2))
        yield from (self._call(), Blank(2))

    # a step

    def _step(self) -> Block:
        """The function that launches one step."""
        core: list[Item] = []
        for kernel, launch in zip(self.kernels, self.step.launches, strict=True):
            core += [self._product(gemm) for gemm in launch.products]
            if kernel is None:
                core.append(alone(self, launch.alone))
            elif kernel.is_needed:
                core.append(kernel.call())
        self.room.measure(core)
        used = pyast.names_in(core)
        body = lines("'''Launch one step: products, and a kernel for what is made of them.'''")
        body += lines(f"{', '.join(self.room.sizes)}, = m.dims") if self.room.sizes else []
        body += lines("now = step % 2") if "now" in used else []
        head = quote_statements(f"def {self.name}_step(m, step):\n    pass")[0]
        return Block(head, (*body, *core))

    def _product(self, gemm: Gemm) -> Item:
        """A product, by the library."""
        piece = self.step.piece(gemm.vector)
        side = "[now]" if piece.value in self.loop.carries else ""
        vector = f"m.{buffer(self, piece.value, 'vector')}{side}"
        weight = f"m.{self.ids[gemm.weight]}"
        target = f"m.{buffer(self, gemm.value, 'product')}"
        transposed = self.between.is_transposed(gemm)
        if self.between.blocks(gemm) is not None:
            text = f"torch.bmm({vector}, {weight}{'' if transposed else '.mT'}, out={target})"
        else:
            if size_of(self.cell.nodes[piece.value]) != gemm.depth:
                end = text_of(piece.start + gemm.depth)
                vector = f"{vector}[:, {text_of(piece.start)}:{end}]"
            text = f"torch.mm({vector}, {weight}{'' if transposed else '.T'}, out={target})"
        return Line(quote_statements(text)[0], self.comment(gemm.value))

    # a call

    def _call(self) -> Block:
        """The function that a call of the loop is."""
        given = list(self.tensors)
        starts = [f"{self.ids[state]}_start" for state in self.loop.carries]
        outputs = [output(self, name) for name in self.outside.outputs]
        body = lines(
            f"""
            '''{self._text()}'''
            call = Call(sizes, {given[-1]}, keep, training)
            {", ".join(given)}, = ready({given[-1]}.dtype, {", ".join(given)})
            """
        )
        body += [line for name in self.outside.outputs for line in self._made(name)]
        body += lines(f"if not call.count:\n    return {in_tuple([*outputs, *starts])}")
        body += self._at_once(outputs) + (self._stepwise(outputs) if self.is_stepwise else [])
        arguments = ["sizes", *sizes_of(self), *given, "keep", "training", "loops"]
        head = quote_statements(f"def {self.name}({', '.join(arguments)}):\n    pass")[0]
        return Block(head, tuple(body))

    def _made(self, name: str) -> list[Item]:
        """The room for an output."""
        dims = [text_of(dim) for dim in self.cell.nodes[name].type.shape]
        kept = [] if name in self.outside.always else ["kept=keep"]
        return lines(f"{output(self, name)} = call.rows({', '.join([*dims, *kept])})")

    def _at_once(self, outputs: list[str]) -> list[Item]:
        """The statements of a call that runs inside one kernel."""
        if self.inside is None:
            return []
        found: list[Item] = []
        ends = [f"{self.ids[state]}_end" for state in self.loop.carries]
        for state, end in zip(self.loop.carries, ends, strict=True):
            found += lines(f"{end} = torch.empty_like({self.ids[state]}_start)")
        found.append(self.inside.call())
        found += lines(f"return {in_tuple([*outputs, *ends])}")
        if isinstance(self.inside, ScanKernel) or not self.is_stepwise:
            return found
        test = f"if inside_kernel(loops, call, {self.inside.numbers}):\n    pass"
        return [Block(quote_statements(test)[0], tuple(found))]

    def _stepwise(self, outputs: list[str]) -> list[Item]:
        """The statements of a call that runs step after step."""
        inner = self.room.fill()
        inner += lines(f"m.run({self.name}_step, call.steps)")
        inner += lines(f"return {in_tuple([*outputs, *self.room.ends()])}")
        sizes, count = in_tuple(self.room.sizes), len(table_of(self))
        room = f"memory_for({self.name}_memory, call, {sizes}, {count})"
        return [Block(quote_statements(f"with {room} as m:\n    pass")[0], tuple(inner))]

    def _text(self) -> str:
        way = "backward" if self.loop.backward else "forward"
        return f"The loop {way} along {self.loop.axis}: outputs, and states after the last step."


_JIT_TABLE = "@triton.jit(do_not_specialize=['steps'])"


def _decorated(decorators: Iterable[str], block: Block) -> list[Item]:
    """A function with decorators."""
    head = block.head
    assert isinstance(head, ast.FunctionDef)
    found = [quote_statements(f"{text}\ndef f():\n    pass")[0] for text in decorators]
    head.decorator_list = [f.decorator_list[0] for f in found if isinstance(f, ast.FunctionDef)]
    return [block, Blank(2)]
