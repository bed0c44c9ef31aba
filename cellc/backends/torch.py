"""The Torch backend: an ``nn.Module`` with the manners of ``nn.LSTM``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from cellc.backends import (
    docs,
    pyast,
    torch_cells,
    torch_diagonals,
    torch_forward,
    torch_kernels,
    torch_module,
    torch_run,
    torch_scan,
)
from cellc.backends.naming import class_name
from cellc.backends.pyast import Blank, Block, Item, lines, quote_statements
from cellc.backends.torch_emitter import SPELLER, TorchEmitter
from cellc.backends.torch_function import GradientFunction
from cellc.backends.torch_helpers import helpers_for
from cellc.backends.torch_method import Method
from cellc.diagnostics import CellcError, Diagnostic
from cellc.ir import Cell, Schedule
from cellc.syntax.characters import ascii_name

#: Attributes of every ``nn.Module``, which no parameter may be called.
MODULE_ATTRIBUTES = frozenset(
    [
        "T_destination",
        "add_module",
        "apply",
        "bfloat16",
        "batch_first",
        "buffers",
        "call_super_init",
        "children",
        "compile",
        "cpu",
        "cuda",
        "device",
        "double",
        "dtype",
        "dump_patches",
        "eval",
        "extra_repr",
        "float",
        "forward",
        "get_buffer",
        "get_extra_state",
        "get_parameter",
        "get_submodule",
        "half",
        "initial_state",
        "ipu",
        "load_state_dict",
        "modules",
        "mtia",
        "named_buffers",
        "named_children",
        "named_modules",
        "named_parameters",
        "parameters",
        "register_backward_hook",
        "register_buffer",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_module",
        "register_parameter",
        "register_state_dict_post_hook",
        "register_state_dict_pre_hook",
        "requires_grad_",
        "reset_parameters",
        "reset_state",
        "set_extra_state",
        "set_submodule",
        "share_memory",
        "state_dict",
        "to",
        "to_empty",
        "to_torch",
        "train",
        "training",
        "type",
        "xpu",
        "zero_grad",
    ]
)


def emit(
    schedule: Schedule, source: Cell, with_kernels: Kernels | None = None, on_device: bool = False
) -> tuple[str, str]:
    """The text of a file with one ``nn.Module``, and that of one with its kernels in C++.

    The latter is empty where the schedule has no compiled form. ``source`` is the cell as it
    was written, for documentation and for recognising torch's own cells; ``with_kernels`` makes
    what runs the schedule's compiled form. With ``on_device`` calls on a GPU run as another file
    has it. Raises CellcError ``reserved-name`` for a parameter that would hide an attribute of
    ``nn.Module``.
    """
    _check_names(source)
    writer = TorchEmitter(schedule, SPELLER)
    written = TorchEmitter(schedule.written or schedule, SPELLER)
    runner = in_kernels(in_python(writer, source), writer, source, with_kernels or _native)
    twin = torch_cells.twin_of(source)
    body: list[Item] = [pyast.docstring(_class_text(writer, twin, runner.told))]
    body += [item for line in writer.fixed_lines() for item in (Blank(), line)]
    body += [Blank(), *lines("derived = True")] if runner.function else []
    body += lines(runner.attributes)
    for method in _methods(writer, written, twin, runner):
        body += [Blank(), method]
    decorator = "@on_device(DEVICE)\n" if on_device and runner.function else ""
    head = quote_statements(f"{decorator}class {class_name(source.name)}(nn.Module):\n    pass")[0]
    made = Block(head, tuple(body))
    writers = [writer, written, *runner.writers]
    own = [*dict.fromkeys(text for each in writers for text in each.helpers.values())]
    helpers = [*helpers_for(pyast.names_in([made, *runner.function]), own), *own]
    rest: list[Item] = [Blank(2)]
    for helper in helpers:
        rest += [*lines(helper), Blank(2)]
    rest += [*runner.function, Blank(2)] if runner.function else []
    text = [
        pyast.docstring(docs.module_text(source)),
        Blank(),
        *imports([*rest, made], runner.imports),
    ]
    return pyast.write([*text, *rest, made]), runner.kernels


@dataclass(frozen=True)
class Runner:
    """The method that runs rows, those that it calls, and functions with a derivative.

    ``attributes`` are statements of the class, ``told`` is what its documentation says of them,
    ``imports`` are those that functions need, ``kernels`` is the file in C++ that they call, if
    they do.
    """

    method: Method
    inner: tuple[Method, ...] = ()
    function: tuple[Item, ...] = ()
    writers: tuple[TorchEmitter, ...] = ()
    attributes: str = ""
    told: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    kernels: str = ""


#: From a compiled schedule, the cell's name as a class and the method that runs it in Python: the
#: method that chooses, the statements of a function with a derivative, and what ``Runner`` has.
Kernels = Callable[[Schedule, str, Method], Runner]


def in_kernels(plain: Runner, writer: TorchEmitter, source: Cell, make: Kernels) -> Runner:
    """What runs the cell in kernels where it can be, and what runs it without."""
    compiled = writer.schedule.compiled
    if compiled is None or not plain.function:
        return plain
    try:
        method = plain.method.renamed("_in_python")
        made = make(compiled, class_name(source.name), method)
    except CellcError:
        return plain
    return replace(
        made,
        inner=(method, *plain.inner),
        function=(*plain.function, Blank(2), *made.function),
        writers=(*plain.writers, *made.writers),
    )


def _native(compiled: Schedule, name: str, plain: Method) -> Runner:
    """Loops in C++."""
    made = torch_kernels.compiled(compiled, f"{name}Kernels", plain, f"{name}Function")
    attributes = "kernels, sharing = 'auto', 'auto'"
    return Runner(made.method, (), made.items(), made.writers, attributes, kernels=made.source)


def in_python(writer: TorchEmitter, source: Cell) -> Runner:
    """What runs the cell: its loops, the one that takes their steps together, or its scans."""
    name = class_name(source.name)
    diagonals, scanned = writer.schedule.diagonals, writer.schedule.scanned
    if diagonals is not None:
        inner = TorchEmitter(diagonals.schedule, SPELLER)
        runner = _loops(inner, f"{name}Function", "_along_diagonals")
        method = torch_diagonals.method(writer, inner, diagonals, runner.method)
        return replace(runner, method=method, inner=(runner.method,),
                       writers=(inner, *runner.writers))  # fmt: skip
    if scanned is None:
        return _loops(writer, f"{name}Function", "_run")
    loops = _loops(writer, f"{name}Function", "_with_loops")
    other = TorchEmitter(scanned, SPELLER)
    scans = _loops(other, f"{name}ScanFunction", "_with_scans")
    function = [*loops.function, *([Blank(2)] if loops.function else []), *scans.function]
    return Runner(
        torch_scan.choice(writer, scanned, loops.method, scans.method),
        (loops.method, scans.method),
        tuple(function),
        (other, *loops.writers, *scans.writers),
    )


def _loops(writer: TorchEmitter, function: str, name: str) -> Runner:
    """With a function of its own where a loop is derived; else autograd does it with less ado."""
    gradient = writer.schedule.gradient
    if gradient is None or not gradient.schedule.loops:
        return Runner(torch_run.run(writer, name))
    made = GradientFunction(writer.schedule, function, name)
    return Runner(made.method, (), (made.block,), (made.writer, made.derived))


def _methods(
    writer: TorchEmitter,
    written: TorchEmitter,
    twin: torch_cells.Twin | None,
    runner: Runner,
) -> list[Item]:
    """The methods in the order of the file."""
    traced = torch_run.traced(written)
    return [
        torch_module.constructor(writer),
        torch_module.reset(writer),
        torch_module.initial_state(writer),
        *torch_module.kept_states(writer),
        torch_forward.forward(written, runner.method, traced),
        runner.method.block,
        *(method.block for method in runner.inner),
        traced.block,
        *([torch_cells.loader(twin), torch_cells.exporter(twin)] if twin is not None else []),
        torch_module.extra_repr(writer),
    ]


#: What files import of cellc that do not stand alone, by a name that tells.
_OWN = {
    "DEVICE": "from cellc.kernels.device import on_device",
    "KERNELS": "from cellc.kernels.torch_loops import Kernels, Loop, unprepared",
}


def imports(items: list[Item], more: Iterable[str]) -> list[Item]:
    """The imports that the names of a file need, and more."""
    used = pyast.names_in(items)
    packing = [name for name in ("PackedSequence", "pad_packed_sequence") if name in used]
    own = ["import math"] if "math" in used else []
    functional = ["import torch.nn.functional as F"] if "F" in used else []
    standard = sorted([*own, "import zlib", *(t for t in more if "triton" not in t)], key=_order)
    others = ["import torch", *functional, *(t for t in more if "triton" in t)]
    others += ["from torch import nn"]
    others += [f"from torch.nn.utils.rnn import {', '.join(packing)}"] if packing else []
    cellc = [text for name, text in _OWN.items() if name in used]
    groups = (standard, others, cellc)
    found = [item for group in groups if group for item in (*lines("\n".join(group)), Blank())]
    return found[:-1]


def _order(text: str) -> tuple[bool, str]:
    """Modules before names of modules, each by the alphabet."""
    return text.startswith("from"), text


def _check_names(cell: Cell) -> None:
    names = [*cell.params, *cell.options, *(argument.name for argument in cell.dims.values())]
    sizes = {argument.name for argument in cell.dims.values()}
    taken = [n for n in names if ascii_name(n) in MODULE_ATTRIBUTES]
    taken += [n for n in (*cell.params, *cell.options) if ascii_name(n) in sizes]
    if taken:
        raise CellcError(*(Diagnostic(
            "reserved-name", f"`{name}` is an attribute of the torch module",
            hints=("give the parameter or option another name",)) for name in taken))  # fmt: skip


def _class_text(writer: TorchEmitter, twin: torch_cells.Twin | None, told: Sequence[str]) -> str:
    cell = writer.cell
    derived = (
        ["", "Gradients come from the derived backward pass; from autograd through the loop where",
         "the attribute ``derived`` is set to False."]
        if writer.schedule.inner.gradient is not None else []
    )  # fmt: skip
    loads = (
        ["", f"``load_state_dict`` takes the parameters of ``nn.{twin.module}`` as well, and",
         "``to_torch`` gives them back."] if twin is not None else []
    )  # fmt: skip
    return "\n".join([
        cell.description or cell.name,
        "",
        "Arguments:",
        *docs.argument_lines(cell),
        "    batch_first: whether sequences are (B, T, …) rather than (T, B, …).",
        "    seed: what initial values are drawn from, each by its parameter's name; by",
        "        default taken from torch's generator.",
        "    device, dtype: of the parameters.",
        *derived,
        *told,
        "",
        "Parameters:",
        *docs.parameter_lines(cell),
        *loads,
        "",
    ])  # fmt: skip


@dataclass(frozen=True)
class TorchBackend:
    """Emits an ``nn.Module``."""

    name: str = "torch"
    scans_apart: bool = True
    learns_starts: bool = False
    kernels: tuple[str, ...] = ("auto", "native")
    device: str = "triton"

    def emit(self, schedule: Schedule, source: Cell) -> str:
        return emit(schedule, source)[0]

    def emit_with_kernels(self, schedule: Schedule, source: Cell) -> tuple[str, str]:
        """As ``emit``, with the text of the kernels in C++ that the file calls."""
        return emit(schedule, source)

    def emit_for_device(self, schedule: Schedule, source: Cell) -> tuple[str, str]:
        """As ``emit_with_kernels``, of a file that runs as one of ``device`` on a GPU."""
        return emit(schedule, source, on_device=True)


BACKEND = TorchBackend()
