"""A stage of lanes in C++: products into tiles, and what is computed of each vector of places."""

from __future__ import annotations

from cellc.backends.native.arguments import Packed
from cellc.backends.native.cpp import dimension
from cellc.backends.native.memory import blocks_of
from cellc.backends.native.stages import Gemm, Lanes, Segment
from cellc.backends.native.values import ValueWriter, plus
from cellc.backends.native.writer import Code


class LanesWriter:
    """Writes a stage as two functions: one for a vector of places, one for ranges of them."""

    def __init__(self, values: ValueWriter, code: Code, number: int, stage: Lanes) -> None:
        self.values, self.code, self.stage, self.number = values, code, stage, number
        self.memory = values.memory
        self.products = [(g, p) for g in stage.products for p in self.memory.panels(g)]
        self.blocks = blocks_of(stage)
        most = max((vectors(packed) for _, packed in self.products), default=0)
        self.height = f"most_rows({most})"

    def write(self) -> None:
        """Both functions."""
        name, code = self.values.name, self.code
        head = f"const {name}_given &a, const Step &s"
        tiles = "".join(f", const real *tile_{k}" for k in range(len(self.products)))
        code("template <bool FULL>")
        with code.block(
            f"INLINE void {name}_at_{self.number}({head}, int64_t r, int64_t j, int64_t n{tiles})"
        ):
            code("const int64_t row = s.first + r;", "(void)row;")
            self._at()
        code("")
        with code.block(f"SHARED void {name}_stage_{self.number}({head}, Range rows, Range lanes)"):
            if self.products:
                self._panels()
            else:
                self._rows()

    def _rows(self) -> None:
        """Row by row, so that memory is read in the order in which it lies."""
        with (
            self.code.block("for (int64_t r = rows.begin; r < rows.end; r++)"),
            self.code.block("for (int64_t j = lanes.begin; j < lanes.end; j += LANES)"),
        ):
            self._call("r", "j", [])

    def _panels(self) -> None:
        """Panel by panel, so that each is read once for all rows."""
        self.code(f"const int64_t width = {self.blocks}*LANES;")
        with self.code.block("for (int64_t turn = lanes.begin; turn < lanes.end; turn += width)"):
            self.code("const int64_t j = to_and_fro(s, lanes, turn, width);")
            self._tiles()

    def _at(self) -> None:
        """The statements for one vector of places."""
        values = self.values
        values.registers = {}
        for k, (gemm, packed) in enumerate(self.products):
            for place, start in enumerate(packed.starts):
                value = f"load<true>(tile_{k} + {place}*LANES, n)"
                if gemm.added:
                    value += f" + {values.numbers_at(gemm.added, start)}"
                values.hold(self.code, Segment(gemm.value, start), value)
        for segment in self.stage.computed:
            values.hold(self.code, segment, values.computed(segment))
        for segment in self.stage.stores:
            value = values.numbers_at(segment.value, segment.start)
            if values.is_boolean(segment.value):
                value = f"select({value}, all(1), all(0))"
            for target, when in self.memory.targets(segment.value):
                text = f"store<FULL>({target}{plus(segment.start)} + j, {value}, n);"
                self.code(f"if ({when}) {text}" if when else text)

    def _tiles(self) -> None:
        """The products of some rows at a time, and what is computed of them."""
        code = self.code
        code(f"const int64_t height = even(rows.end - rows.begin, {self.height});")
        with code.block("for (int64_t top = rows.begin; top < rows.end; top += height)"):
            code("const int64_t count = top + height < rows.end ? height : rows.end - top;")
            for k, (gemm, packed) in enumerate(self.products):
                self._product(k, gemm, packed)
            tiles = [
                f"tile_{k} + (i*{vectors(packed)} + block*{len(packed.starts)})*LANES"
                for k, (_, packed) in enumerate(self.products)
            ]
            with (
                code.block("for (int64_t i = 0; i < count; i++)"),
                code.block(f"for (int64_t block = 0; block < {self.blocks}; block++)"),
            ):
                self._call("top + i", "j + block*LANES", tiles)

    def _call(self, row: str, place: str, tiles: list[str]) -> None:
        at, more = f"{self.values.name}_at_{self.number}", "".join(f", {tile}" for tile in tiles)
        self.code(
            f"const int64_t at = {place}, n = {dimension(self.stage.length)} - at;",
            "if (n >= LANES)", f"    {at}<true>(a, s, {row}, at, LANES{more});",
            "else if (n > 0)", f"    {at}<false>(a, s, {row}, at, n{more});",
        )  # fmt: skip

    def _product(self, k: int, gemm: Gemm, packed: Packed) -> None:
        name, start = self.values.in_one_piece(gemm.vector)
        depth, code = dimension(gemm.depth), self.code
        code(f"alignas(64) real tile_{k}[{self.height}*{vectors(packed)}*LANES];")
        with code.block(""):
            code("const int64_t r = top, row = s.first + r;", "(void)row;")
            code(f"const real *from = {self.memory.source(name)}{plus(start)};")
            panel = f"a.{packed.name} + j/width*{depth}*{vectors(packed)}*LANES"
            code(f"Products<{vectors(packed)}, {self.height}>::run(count, {depth}, from, "
                 f"{self.memory.stride(name)}, 1, {panel}, tile_{k});")  # fmt: skip


def vectors(packed: Packed) -> int:
    """How many vectors a panel has for each input."""
    return len(packed.starts) * packed.blocks
