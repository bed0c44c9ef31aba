"""A cell as a program in C++ with an interface in C, which runs it without Python."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cellc.backends.axes import word
from cellc.backends.native.calls import CallWriter, Values
from cellc.backends.native.cpp import dimension
from cellc.backends.native.cpp import header as part
from cellc.backends.native.header import comment, header
from cellc.backends.native.interface import Interface
from cellc.backends.native.places import size_of
from cellc.backends.native.writer import Code
from cellc.ir import NOWHERE, Cell, Loop, Region, Schedule
from cellc.ir.dimension import product
from cellc.kernels.choice import CALLING, MEETING, NEAR

#: What the program contains besides the cell's own functions.
HEADERS = ("numbers", "rows", "products", "team", "panels", "steps", "sequences")
#: The largest dimension, and the most numbers that a value, or all together, can have.
LARGEST, MOST = "2147483647.0", "1e14"
#: Functions of the loops are called within the file alone.
_WITHIN = "#undef EXPORT\n#define EXPORT static __attribute__((unused))\n"
#: What a loop does not need is there all the same, and vectors are passed within the file alone.
_QUIET = "".join(
    f'#pragma GCC diagnostic ignored "-W{name}"\n'
    for name in ("unused-function", "unused-variable", "psabi")
)
_INCLUDE = re.compile(r"^#include <.*>\n", re.MULTILINE)
#: What a program chooses a way by, as modules do.
_COSTS = f"static const double CALLING = {CALLING}, MEETING = {MEETING}, NEAR = {NEAR};\n"


def library() -> str:
    """What a program contains besides the cell's own functions, in C++."""
    first, *others = HEADERS
    return "\n".join([part(first), _WITHIN, _COSTS, *map(part, others)])


class Program:
    """Writes the file in C++ of a schedule in which all is computed in loops."""

    def __init__(self, schedule: Schedule, source: Cell) -> None:
        self.schedule, self.interface = schedule, Interface(schedule, source)
        self.values = Values(schedule, self.interface)
        self.cell, self.known = self.values.cell, self.values.known
        self.prefix, self.name = self.interface.prefix, self.interface.name
        self.kept = self._kept()

    def __str__(self) -> str:
        loops = [str(made.code()) for made in self.values.loops.values()]
        text = library()
        hidden = "\n".join([_INCLUDE.sub("", text), *loops])
        code = Code()
        for write in (self._model, self._fits, self._fill, self._prepare, self._free, self._run,
                      self._forward):  # fmt: skip
            write(code)
            code("")
        return "".join([
            "\n".join(comment(f"{self.interface.source.name}: see {self.prefix}.h.\n")), "\n\n",
            f'#include "{self.prefix}.h"\n\n',
            *dict.fromkeys(_INCLUDE.findall(text)),
            "\n", _QUIET, "\nnamespace {\n\n", hidden, "\n}  // namespace\n\n",
            str(code).rstrip(), "\n",
        ])  # fmt: skip

    def _calls(self) -> list[tuple[int, Region]]:
        """The regions that a call computes, others than what is prepared."""
        pairs = enumerate(self.schedule.regions)
        return [(k, region) for k, region in pairs if region.extent != NOWHERE]

    def _kept(self) -> list[str]:
        """What is prepared and read by calls, others than weights in panels."""
        found: dict[str, None] = {}
        for place, region in self._calls():
            if isinstance(region, Loop):
                found |= dict.fromkeys(self.values.loops[place].memory.arguments.fixed)
            else:
                (name,) = region.values
                node = self.cell.nodes[name]
                is_shift = node.op.name == "state"
                found |= dict.fromkeys([self.values.nexts[name]] if is_shift else node.args)
        found |= dict.fromkeys(r.value for r in self.cell.results if r.role in ("output", "start"))
        return [name for name in found if self.cell.nodes[name].type.extent == NOWHERE]

    # what is prepared

    def _model(self, code: Code) -> None:
        """The dimensions, and what is kept of the parameters."""
        with code.block(f"struct {self.name('dims')}", "};"):
            code(f"int64_t {', '.join([*self.cell.dims, 'none'])};")
        code("")
        with code.block(f"struct {self.name('model')}", "};"):
            code(f"{self.name('config')} config;", f"{self.name('dims')} d;",
                 "double numbers;", "Store store;")  # fmt: skip
            code.all(f"const real *{self.values.id(n)};{self.values.told(n)}" for n in self.kept)
            for place, region in self._calls():
                if isinstance(region, Loop):
                    code(f"double work_{place};")
                    code.all(f"const real *panels_{place}_{k};"
                             for k in range(len(self._packed(place))))  # fmt: skip

    def _packed(self, place: int) -> list[str]:
        """The weights that a loop reads in panels, one for each of these."""
        return [p.weight for p in self.values.loops[place].memory.arguments.packed]

    def _fits(self, code: Code) -> None:
        """The function that takes the dimensions, if they fit each other and the machine."""
        nodes = self.cell.nodes.values()
        sizes = dict.fromkeys(dimension(size_of(node), "") for node in nodes)
        parts = dict.fromkeys(dimension(d, "") for node in nodes for d in node.type.shape)
        pairs = dict.fromkeys(pair for node in nodes for d in (*node.type.shape, product(
            node.type.shape)) for pair in d.divisions())  # fmt: skip
        with code.block(f"static bool {self.name('fits')}({self.name('model')} &m)"):
            for dim, argument in self.cell.dims.items():
                value = str(argument.default)
                if dim in self.interface.dims:
                    value = f"m.config.{self.interface.dims[dim]}"
                code(f"m.d.{dim} = {value};",
                     f"if (m.d.{dim} < 1 || m.d.{dim} > {LARGEST}) return false;")  # fmt: skip
            code("m.d.none = 0;", "m.numbers = 64;")
            with code.block(""):
                code.all(f"const double {d} = (double)m.d.{d}; (void){d};" for d in self.cell.dims)
                code(f"const double sizes[] = {{{', '.join([*sizes, *parts])}}};")
                with code.block("for (double size : sizes)"):
                    code(f"if (!(size >= 0 && size <= {MOST})) return false;", "m.numbers += size;")
            code.all(f"const int64_t {d} = m.d.{d}; (void){d};" for d in self.cell.dims)
            for above, below in pairs:
                above, below = (_powers(text) for text in (above, below))
                code(f"if (({above}) % ({below})) return false;")
            code("return true;")

    def _fill(self, code: Code) -> None:
        """The function that computes what is kept, with memory for what is not."""
        head = f"{self.name('model')} &m, const {self.name('parameters')} &p, Store &store"
        with code.block(f"static int {self.name('fill')}({head})"):
            dims = ", ".join(f"d.{dim}" for dim in [*self.cell.dims, "none"])
            code(f"const {self.name('dims')} &d = m.d;", f"const int64_t dims[] = {{{dims}}};",
                 "(void)d; (void)dims; (void)p; (void)store;")  # fmt: skip
            for name, member in self.interface.params.items():
                self.known[name] = f"p.{member}"
            self._once(code)
            calls = CallWriter(self.values, code, "m.store", {})
            for name in self.kept:
                self._keep(code, calls, name)
            for place, region in self._calls():
                if isinstance(region, Loop):
                    code(f"m.work_{place} = 0;")
                    for number, weight in enumerate(self._packed(place)):
                        self._panels(code, place, number, f"m.panels_{place}_{number}",
                                     f"panels(m.store, {{}}, dims, {self.known[weight]}, "
                                     f"&m.work_{place})")  # fmt: skip
            code(f"return {self.interface.code('OK')};")
        self.known.update({name: f"m.{self.values.id(name)}" for name in self.kept})

    def _once(self, code: Code) -> None:
        """The loops whose values are the same for all sequences and steps."""
        calls = CallWriter(self.values, code, "store", {})
        for place, region in enumerate(self.schedule.regions):
            if region.extent != NOWHERE:
                continue
            if not isinstance(region, Loop):
                calls.single(region.values[0])
                continue
            names = []
            for number, weight in enumerate(self._packed(place)):
                names.append(f"panels_{place}_{number}")
                self._panels(code, place, number, f"const real *const {names[-1]}",
                             f"panels(store, {{}}, dims, {self.known[weight]}, 0)")  # fmt: skip
            calls.loop(place, names)

    def _panels(self, code: Code, place: int, number: int, target: str, call: str) -> None:
        made = self.values.loops[place]
        name = target.split()[-1].removeprefix("*")
        code(f"{target} = {call.format(f'{made.name}_pack_{number}')};",
             f"if (!{name}) return {self.interface.code('NO_MEMORY')};")  # fmt: skip

    def _keep(self, code: Code, calls: CallWriter, name: str) -> None:
        """Copy what was computed, or what the caller has, to where the model keeps it."""
        own, size = self.values.id(name), self.values.size(name)
        source = self.values.number(name)
        with code.block(""):
            code(f"real *const kept = numbers(m.store, {size});", f"if (!kept) {calls.failed}")
            code(f"copy(kept, {self.known[name]}, {size});" if source is None
                 else f"*kept = {source};", f"m.{own} = kept;")  # fmt: skip

    def _prepare(self, code: Code) -> None:
        """The function that makes a model."""
        interface, model = self.interface, self.name("model")
        head = f"const {self.name('config')} *config, const {self.name('parameters')} *parameters"
        bad = f"return {interface.code('BAD_ARGUMENT')};"
        with code.block(f"int {self.name('prepare')}({head}, {model} **made)"):
            code(f"if (!made) {bad}", "*made = 0;", f"if (!config || !parameters) {bad}")
            code.all(f"if (!parameters->{m}) {bad}" for m in interface.params.values())
            code(f"{model} *m = ({model} *)calloc(1, sizeof({model}));",
                 f"if (!m) return {interface.code('NO_MEMORY')};", "m->config = *config;",
                 f"int result = {interface.code('BAD_SIZE')};")  # fmt: skip
            with code.block(f"if ({self.name('fits')}(*m))"):
                code("Store store = {0};", f"result = {self.name('fill')}(*m, *parameters, store);",
                     "release(store);")  # fmt: skip
            with code.block(f"if (result != {interface.code('OK')})"):
                code(f"{self.name('free')}(m);", "m = 0;")
            code("*made = m;", "return result;")

    def _free(self, code: Code) -> None:
        with code.block(f"void {self.name('free')}({self.name('model')} *model)"):
            code("if (!model) return;", "release(model->store);", "free(model);")

    # a call

    def _run(self, code: Code) -> None:
        """The function that computes a call's regions, whose arguments have been checked."""
        model, given = f"const {self.name('model')} &m", self.interface.forward()[1:]
        arguments = [model, "Store &store", *given]
        targets: dict[str, str] = {}
        for output in self.interface.outputs:
            if self.cell.nodes[output.value].type.extent == output.extent:
                targets.setdefault(output.value, output.argument)
        with code.block(f"static int {self.name('run')}({', '.join(arguments)})"):
            code(f"const {self.name('dims')} &d = m.d;", "(void)d; (void)batch; (void)threads;")
            calls = CallWriter(self.values, code, "store", targets)
            for axis in self.interface.axes:
                steps, along, lengths = (word(axis, n) for n in ("steps", "along", "lengths"))
                call = f"arrange(store, {steps}, batch, {lengths}, &{along})"
                code(f"Along {along};", f"if (!{call}) {calls.failed}")
            for place, region in self._calls():
                if isinstance(region, Loop):
                    names = [f"m.panels_{place}_{k}" for k in range(len(self._packed(place)))]
                    calls.loop(place, names)
                else:
                    calls.single(region.values[0])
            for output in self.interface.outputs:
                calls.output(output.value, output.argument, output.axis)
            for state in self.interface.states:
                calls.end(state)
            code(f"return {self.interface.code('OK')};")

    def _forward(self, code: Code) -> None:
        """The function that a program calls: it checks, runs and tidies up."""
        interface, arguments = self.interface, self.interface.forward()
        with code.block(f"int {self.name('forward')}({', '.join(arguments)})"):
            needed = ["model", *interface.inputs.values()]
            code(f"if ({' || '.join(f'!{name}' for name in needed)}) "
                 f"return {interface.code('BAD_ARGUMENT')};")  # fmt: skip
            for steps in [word(axis, "steps") for axis in interface.axes] or ["1"]:
                code(f"if ({steps} < 1 || batch < 1 || "
                     f"!((double){steps}*(double)batch*model->numbers < {MOST}))",
                     f"    return {interface.code('BAD_SIZE')};")  # fmt: skip
            for axis in interface.axes:
                code(f"if (!lengths_fit({word(axis, 'steps')}, batch, {word(axis, 'lengths')}))",
                     f"    return {interface.code('BAD_LENGTH')};")  # fmt: skip
            code("threads = threads < 1 ? 1 : threads > 256 ? 256 : threads;")
            names = [re.split(r"[ *]", argument)[-1] for argument in arguments[1:]]
            code("Store store = {0};",
                 f"const int result = {self.name('run')}(*model, store, {', '.join(names)});",
                 "release(store);", "return result;")  # fmt: skip


def _powers(text: str) -> str:
    """A product of names, powers written out."""
    return re.sub(r"(\w+)\^(\d+)", lambda m: "*".join([m[1]] * int(m[2])), text)


@dataclass(frozen=True)
class NativeBackend:
    """Emits a program in C++ that runs a cell, and the header that C programs call it by."""

    name: str = "native"
    inference_only: bool = True

    def emit(self, schedule: Schedule, source: Cell) -> str:
        """The text of the file in C++. Raises CellcError ``missing-spelling``."""
        return str(Program(schedule, source))

    def files(self, schedule: Schedule, source: Cell) -> dict[str, str]:
        """The texts of all files by their names."""
        program = Program(schedule, source)
        return {
            f"{program.prefix}.h": header(program.interface),
            f"{program.prefix}.cpp": str(program),
        }
