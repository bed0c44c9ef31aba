"""Torch's own cells: which cells they are, and how their parameters are laid out.

A cell is recognised by its key, not by its name, so whoever writes the equations of
``nn.LSTM`` can load its parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from cellc.backends.pyast import Block, Item, docstring, lines, quote_statements
from cellc.ir import EVERYWHERE, NOWHERE, Cell, Dim, Node, Result, Type
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
f = sigmoid net_f
i = sigmoid net_i
o = sigmoid net_o
g = tanh net_g
fc = multiply f c
ig = multiply i g
c' = add fc ig
tc = tanh c'
h' = multiply o tc
"""

_GRU = """
r = sigmoid net_r
z = sigmoid net_z
Wh = matmul W_hn h
Whb = add Wh b_hn
rWh = multiply r Whb
Wx = matmul W_xn x
Wxb = add Wx b_n
net_n = add Wxb rWh
n = tanh net_n
keep = multiply z h
rest = subtract one z
new = multiply rest n
h' = add keep new
"""

LAYOUTS = (
    Layout("RNN", ("h",), "h' = tanh net_h"),
    Layout("RNN", ("h",), "h' = relu net_h", "nonlinearity='relu'"),
    Layout("LSTM", ("i", "f", "g", "o"), _LSTM),
    Layout("GRU", ("r", "z", "n"), _GRU, second_bias=("n",)),
)

_JOINED = """
Wv_{gate} = matmul W_{gate} v
net_{gate} = add Wv_{gate} b_{gate}
"""

_APART = """
Wx_{gate} = matmul W_x{gate} x
Wh_{gate} = matmul W_h{gate} h
both_{gate} = add Wx_{gate} Wh_{gate}
net_{gate} = add both_{gate} b_{gate}
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
    form = cell.canonical
    for layout, joined, reference in _references():
        known = reference.canonical
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
            form = _JOINED if joined else _APART
            nets = [form.format(gate=g) for g in layout.gates if g not in layout.second_bias]
            yield layout, joined, _reference("".join(nets) + layout.tail)


def _reference(text: str) -> Cell:
    """The cell of equations, an op and its operands a line."""
    h, x = Dim.of("H"), Dim.of("I")
    nodes = {name: Node(TABLE[op], (), Type(shape, EVERYWHERE)) for name, op, shape in (
        ("x", "input", (x,)), ("h", "state", (h,)), ("c", "state", (h,)))}  # fmt: skip
    if "c'" not in text:
        del nodes["c"]
    nodes["v"] = Node(TABLE["concat"], ("h", "x"), Type((h + x,), EVERYWHERE))
    nodes["one"] = Node(TABLE["const"], (), Type((), NOWHERE), (("value", 1.0),))
    columns = {"x": (x,), "h": (h,), "v": (h + x,)}
    for line in text.split("\n"):
        if not line:
            continue
        name, op, *args = line.replace(" =", "").split()
        for argument in args:
            if argument not in nodes:
                shape = (h, *columns[args[1]]) if argument.startswith("W") else (h,)
                nodes[argument] = Node(TABLE["param"], (), Type(shape, NOWHERE))
        type_ = TABLE[op].infer([nodes[argument].type for argument in args], {})
        nodes[name] = Node(TABLE[op], tuple(args), type_)
    nexts = [Result("next", name, f"{name}'") for name in ("h", "c") if name in nodes]
    return Cell("reference", nodes, (*nexts, Result("output", "h'", "h'")))


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
            twin.weight_ih_l0.copy_(torch.cat(({weights["x"]},)))
            twin.weight_hh_l0.copy_(torch.cat(({weights["h"]},)))
            twin.bias_ih_l0.copy_(torch.cat(({first},)))
            twin.bias_hh_l0.copy_(torch.cat(({second},)))
            return twin
            """
    note = docstring(f"An ``nn.{layout.module}`` of one layer with the same parameters.")
    head = "@torch.no_grad()\ndef to_torch(self):\n    pass"
    return Block(quote_statements(head)[0], (note, *lines(text)))
