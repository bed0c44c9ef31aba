"""Torch's own cells: which cells they are, and how their parameters are laid out.

A cell is recognised by its key, not by its name, so whoever writes the equations of
``nn.LSTM`` can load its parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from cellc.backends.pyast import Block, Item, docstring, lines, quote_statements
from cellc.ir import Cell, parse_cell
from cellc.ir.key import canonical_form
from cellc.ops import TABLE
from cellc.syntax.characters import ascii_name


@dataclass(frozen=True)
class Layout:
    """A module of torch: its gates in torch's order, and the equations that follow them.

    ``second_bias`` are the gates whose two biases mean different things.
    """

    module: str
    gates: tuple[str, ...]
    tail: str
    arguments: str = ""
    second_bias: tuple[str, ...] = ()


_LSTM = """
%f = sigmoid(%net_f) : [H] over {batch, time}
%i = sigmoid(%net_i) : [H] over {batch, time}
%o = sigmoid(%net_o) : [H] over {batch, time}
%g = tanh(%net_g) : [H] over {batch, time}
%fc = multiply(%f, %c) : [H] over {batch, time}
%ig = multiply(%i, %g) : [H] over {batch, time}
%cn = add(%fc, %ig) : [H] over {batch, time}
%tc = tanh(%cn) : [H] over {batch, time}
%hn = multiply(%o, %tc) : [H] over {batch, time}
next %h = %hn
next %c = %cn
output %y = %hn
"""

_GRU = """
%r = sigmoid(%net_r) : [H] over {batch, time}
%z = sigmoid(%net_z) : [H] over {batch, time}
%W_hn = param() : [H, H] over {}
%b_hn = param() : [H] over {}
%Wh = matmul(%W_hn, %h) : [H] over {batch, time}
%Whb = add(%Wh, %b_hn) : [H] over {batch, time}
%rWh = multiply(%r, %Whb) : [H] over {batch, time}
%W_xn = param() : [H, I] over {}
%b_n = param() : [H] over {}
%Wx = matmul(%W_xn, %x) : [H] over {batch, time}
%Wxb = add(%Wx, %b_n) : [H] over {batch, time}
%net_n = add(%Wxb, %rWh) : [H] over {batch, time}
%n = tanh(%net_n) : [H] over {batch, time}
%1 = const() {value=1.0} : [] over {}
%keep = multiply(%z, %h) : [H] over {batch, time}
%rest = subtract(%1, %z) : [H] over {batch, time}
%new = multiply(%rest, %n) : [H] over {batch, time}
%hn = add(%keep, %new) : [H] over {batch, time}
next %h = %hn
output %y = %hn
"""

_RNN = """
%hn = {function}(%net_h) : [H] over {{batch, time}}
next %h = %hn
output %y = %hn
"""

LAYOUTS = (
    Layout("RNN", ("h",), _RNN.format(function="tanh")),
    Layout("RNN", ("h",), _RNN.format(function="relu"), "nonlinearity='relu'"),
    Layout("LSTM", ("i", "f", "g", "o"), _LSTM),
    Layout("GRU", ("r", "z", "n"), _GRU, second_bias=("n",)),
)

_JOINED = """
%v_{gate} = concat(%h, %x) : [H + I] over {{batch, time}}
%W_{gate} = param() : [H, H + I] over {{}}
%b_{gate} = param() : [H] over {{}}
%Wv_{gate} = matmul(%W_{gate}, %v_{gate}) : [H] over {{batch, time}}
%net_{gate} = add(%Wv_{gate}, %b_{gate}) : [H] over {{batch, time}}
"""

_APART = """
%W_x{gate} = param() : [H, I] over {{}}
%W_h{gate} = param() : [H, H] over {{}}
%b_{gate} = param() : [H] over {{}}
%Wx_{gate} = matmul(%W_x{gate}, %x) : [H] over {{batch, time}}
%Wh_{gate} = matmul(%W_h{gate}, %h) : [H] over {{batch, time}}
%both_{gate} = add(%Wx_{gate}, %Wh_{gate}) : [H] over {{batch, time}}
%net_{gate} = add(%both_{gate}, %b_{gate}) : [H] over {{batch, time}}
"""


@dataclass(frozen=True)
class Twin:
    """A cell that is one of torch's, with its parameters by their role.

    Roles are ``W_f`` for a weight over [h, x], ``W_xf`` and ``W_hf`` for two, ``b_f``
    for a bias and ``b_hn`` for a second one.
    """

    layout: Layout
    joined: bool
    params: dict[str, str]

    @property
    def module(self) -> str:
        return self.layout.module

    def weight(self, gate: str, side: str) -> str:
        """The expression of one block of torch's weight; ``side`` is x or h."""
        if f"W_{side}{gate}" in self.params:
            return f"self.{self.params[f'W_{side}{gate}']}"
        columns = "H:" if side == "x" else ":H"
        return f"self.{self.params[f'W_{gate}']}[:, {columns}]"


def twin_of(cell: Cell) -> Twin | None:
    """The module of torch that a cell is, if it is one."""
    form = canonical_form(cell.nodes, cell.results)
    for layout, joined, reference in _references():
        known = canonical_form(reference.nodes, reference.results)
        if known.text == form.text:
            pairs = zip(known.params, form.params, strict=True)
            return Twin(layout, joined, {role: ascii_name(name) for role, name in pairs})
    return None


@cache
def _references() -> tuple[tuple[Layout, bool, Cell], ...]:
    return tuple(_build())


def _build() -> Iterator[tuple[Layout, bool, Cell]]:
    for layout in LAYOUTS:
        for joined in (True, False):
            if joined and layout.second_bias:
                continue
            text = "cell reference\n%x = input() : [I] over {batch, time}\n"
            text += "%h = state() : [H] over {batch, time}\n"
            if "%c)" in layout.tail:
                text += "%c = state() : [H] over {batch, time}\n"
            for gate in layout.gates:
                if gate not in layout.second_bias:
                    text += (_JOINED if joined else _APART).format(gate=gate)
            yield layout, joined, parse_cell(text + layout.tail, TABLE)


def loader(twin: Twin) -> Item:
    """The method through which ``load_state_dict`` takes the module's parameters."""
    layout = twin.layout
    count = len(layout.gates)
    puts = []
    for number, gate in enumerate(layout.gates):
        for role, name in twin.params.items():
            if role == f"W_{gate}":
                puts.append((name, f"torch.cat((w_h[{number}], w_x[{number}]), 1)"))
            elif role in (f"W_x{gate}", f"W_h{gate}"):
                puts.append((name, f"w_{role[2]}[{number}]"))
            elif role == f"b_{gate}":
                both = f"b_x[{number}] + b_h[{number}]"
                puts.append((name, f"b_x[{number}]" if gate in layout.second_bias else both))
            elif role == f"b_h{gate}":
                puts.append((name, f"b_h[{number}]"))
    assignments = "\n                ".join(
        f"state_dict[prefix + '{name}'] = {value}" for name, value in puts
    )
    text = f"""
            parts = ('weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0')
            names = [prefix + part for part in parts]
            if names[0] in state_dict and names[1] in state_dict:
                zero = state_dict[names[1]].new_zeros({count} * self.hidden_size)
                w_x, w_h, b_x, b_h = (state_dict.pop(name, zero).chunk({count}) for name in names)
                {assignments}
            super()._load_from_state_dict(state_dict, prefix, *args)
            """
    head = "def _load_from_state_dict(self, state_dict, prefix, *args):\n    pass"
    note = docstring(f"Take the parameters of an ``nn.{layout.module}`` as well as this module's.")
    return Block(quote_statements(head)[0], (note, *lines(text)))


def exporter(twin: Twin) -> Item:
    """The method that gives torch's own module with the same parameters."""
    layout = twin.layout
    weights = {side: ", ".join(twin.weight(gate, side) for gate in layout.gates) for side in "xh"}
    first = ", ".join(f"self.{twin.params[f'b_{gate}']}" for gate in layout.gates)
    second = ", ".join(
        f"self.{twin.params[f'b_h{gate}']}" if gate in layout.second_bias else "zero"
        for gate in layout.gates
    )
    arguments = ", ".join(
        part for part in ("self.input_size", "H", layout.arguments, "batch_first=self.batch_first",
                          "device=zero.device", "dtype=zero.dtype") if part)  # fmt: skip
    text = f"""
            H = self.hidden_size
            zero = torch.zeros_like(self.{twin.params[f"b_{layout.gates[0]}"]})
            twin = nn.{layout.module}({arguments})
            twin.load_state_dict({{
                'weight_ih_l0': torch.cat(({weights["x"]},)),
                'weight_hh_l0': torch.cat(({weights["h"]},)),
                'bias_ih_l0': torch.cat(({first},)),
                'bias_hh_l0': torch.cat(({second},))}})
            return twin
            """
    note = docstring(f"An ``nn.{layout.module}`` of one layer with the same parameters.")
    head = "@torch.no_grad()\ndef to_torch(self):\n    pass"
    return Block(quote_statements(head)[0], (note, *lines(text)))
