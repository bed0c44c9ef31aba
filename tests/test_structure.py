"""Structured weights against the dense weights they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from typer.testing import CliRunner

import cellc
from cellc.cli import app
from cellc.diagnostics import CellcError
from cellc.ir import Cell, parse_cell, print_cell, verify
from cellc.ops import TABLE
from cellc.passes.fuse_matmul import FuseMatmul
from cellc.passes.pipelines import optimise
from cellc.views.latex import latex
from cellc.views.summary import summarise

Array = NDArray[np.float64]
LEVELS = ("O0", "O1", "O2")
SIZES = {"input_size": 6, "hidden_size": 12}

GATED = """cell gated
input x[I]
state h[H], c[H]
{declared}
f  = sigmoid(W·x + U·h + b)
i  = sigmoid(W·x + U·h + b)
o  = sigmoid(W·x + U·h + b)
g  = tanh(W·x + U·h + b)
c' = f*c + i*g
h' = o*tanh(c')
output h'
"""
GATES = "fiog"
RECURRENT = ", ".join(f"U_{gate}" for gate in GATES)


def gated(*declared: str) -> Cell:
    return cellc.parse(GATED.format(declared="\n".join(declared)))


def run_numpy(cell: Cell, level: str, params: dict[str, Array], x: Array, **sizes: int) -> Array:
    model = cellc.compile(cell, "numpy", level)(**sizes)
    assert set(model.params) == set(params)
    for name, value in params.items():
        assert model.params[name].shape == value.shape
    model.params = params
    result: Array = model(x, lengths=np.array([len(x), len(x) - 2, 1]))[0]
    return result


def run_torch(cell: Cell, level: str, params: dict[str, Array], x: Array, **sizes: int) -> Array:
    model = cellc.compile(cell, "torch", level)(**sizes).double()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in params.items()})
    lengths = torch.tensor([len(x), len(x) - 2, 1])
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.from_numpy(x), lengths)
    result = torch.nn.utils.rnn.pad_packed_sequence(model(packed)[0])[0]
    return np.asarray(result.detach().numpy())


def drawn(cell: Cell, seed: int, **sizes: int) -> dict[str, Array]:
    """Random parameters of the cell; the patterns of sparse weights as they are drawn."""
    rng = np.random.default_rng(seed)
    initial = cellc.compile(cell, "numpy")(**sizes, seed=seed).params
    return {
        name: value if name.endswith("_mask") else rng.standard_normal(value.shape) * 0.7
        for name, value in initial.items()
    }


def block_matrix(blocks: Array) -> Array:
    """The dense matrix with the blocks along its diagonal."""
    count, rows, columns = blocks.shape
    whole = np.zeros((count * rows, count * columns))
    for k in range(count):
        whole[k * rows : (k + 1) * rows, k * columns : (k + 1) * columns] = blocks[k]
    return whole


def expanded(params: dict[str, Array]) -> dict[str, Array]:
    """The dense parameters that structured ones stand for."""
    dense = {}
    for name, value in params.items():
        if name.endswith("_mask"):
            continue
        value = value * params.get(f"{name}_mask", 1.0)
        if value.ndim == 3:
            value = block_matrix(value)
        dense[name] = np.diag(value) if value.ndim == 1 and name.startswith("U") else value
    return dense


@pytest.mark.parametrize(
    "declared",
    [
        f"param {RECURRENT} diagonal",
        f"dim K groups = 3\nparam {RECURRENT} block_diagonal(K)",
        f"dim K groups = 3\nparam W_f, W_i, W_o, W_g, {RECURRENT} block_diagonal(K)",
        "param U_f block_diagonal(2)\nparam U_i, U_o block_diagonal(3)\nparam U_g diagonal",
        f"param {RECURRENT} sparse(0.4)",
        f"param {RECURRENT} frozen sparse(0.4) spectral_radius(0.9)",
        "param U_f block_diagonal(4) sparse(0.5)\nparam U_i diagonal sparse(0.5)\nparam U_o frozen",
        f"param U_f[H, H] diagonal, U_i[H, H] block_diagonal(2), {RECURRENT[10:]} sparse(0.9)",
    ],
)
def test_every_structure_is_its_dense_equivalent(declared: str) -> None:
    cell, dense = gated(declared), gated()
    verify(cell)
    assert parse_cell(print_cell(cell), TABLE) == cell
    rng = np.random.default_rng(1)
    params, x = drawn(cell, 1, **SIZES), rng.standard_normal((5, 3, 6))
    trained = "sparse" in declared and "frozen sparse" not in declared
    assert any(name.endswith("_mask") for name in params) == trained
    expected = run_numpy(dense, "O0", expanded(params), x, **SIZES)
    assert np.abs(expected).max() > 0.1
    for level in LEVELS:
        assert np.abs(run_numpy(cell, level, params, x, **SIZES) - expected).max() < 1e-12
        assert np.abs(run_torch(cell, level, params, x, **SIZES) - expected).max() < 1e-12
        verify(optimise(cell, level))


def test_a_shared_weight_may_be_structured() -> None:
    text = """cell tied
input x[H]
state h[H]
param U shared block_diagonal(3) sparse(0.5)
param V[H, H] diagonal shared
g  = tanh(U·h + V·x)
h' = tanh(U·g + V·h)
output h'
"""
    cell = cellc.parse(text)
    dense = cellc.parse(text.replace("block_diagonal(3) sparse(0.5)", "").replace("diagonal ", ""))
    sizes = {"hidden_size": 6}
    rng = np.random.default_rng(2)
    params, x = drawn(cell, 2, **sizes), rng.standard_normal((4, 3, 6))
    assert params["U_mask"].shape == params["U"].shape == (3, 2, 2)
    whole = expanded(params)
    whole["V"] = np.diag(params["V"])
    expected = run_numpy(dense, "O0", whole, x, **sizes)
    for level in LEVELS:
        assert np.abs(run_numpy(cell, level, params, x, **sizes) - expected).max() < 1e-12
        assert np.abs(run_torch(cell, level, params, x, **sizes) - expected).max() < 1e-12


def test_modifiers_behind_the_last_name_hold_for_all_names_without_their_own() -> None:
    cell = gated("param U_f, U_i diagonal, U_o[H, H], U_g block_diagonal(2)")
    shapes = {name: str(cell.nodes[name].type) for name in cell.params if name[0] == "U"}
    blocks = "[2, H/2, H/2] over {}"
    assert shapes == {"U_f": blocks, "U_i": "[H] over {}", "U_o": blocks, "U_g": blocks}


def test_block_products_of_one_vector_become_one() -> None:
    cell = gated(f"dim K groups\nparam {RECURRENT} block_diagonal(K)")
    fused = FuseMatmul().run(cell)
    verify(fused)
    (product,) = [n for n in fused.nodes.values() if n.op.name == "block_matmul"]
    assert product.attr("copies") == 4
    assert FuseMatmul().run(fused) == fused
    (loop,) = cellc.schedule(cell, "O2").loops
    assert loop.recurrence == "block"


def test_block_weights_cost_a_share_of_the_dense_ones() -> None:
    cell = gated(f"dim K groups\nparam {RECURRENT} block_diagonal(K)")
    sizes = {"H": 64, "I": 32, "K": 4}
    facts, dense = (
        summarise(one, cellc.schedule(one, "O0")).as_dict(sizes) for one in (cell, gated())
    )
    assert facts["parameters"]["formula"] == "4*H*I + 4*H + 4*H^2/K"
    assert dense["parameters"]["count"] - facts["parameters"]["count"] == 4 * 64**2 * 3 // 4
    saved = dense["flops_per_step"]["count"] - facts["flops_per_step"]["count"]
    assert saved == 2 * 4 * 64**2 * 3 // 4
    assert "U_f [K, H/K, H/K]" in cellc.emit(cell, "numpy")
    assert facts["frozen_parameters"]["count"] == 0
    assert facts["recurrence"] == "block"
    optimised = summarise(cell, cellc.schedule(cell, "O2")).as_dict(sizes)
    assert optimised["recurrence"] == "block"


def test_explain_tells_the_flops_of_blocks(tmp_path: Any) -> None:
    def flops(declared: str) -> int:
        path = tmp_path / "gated.cell"
        path.write_text(GATED.format(declared=declared), encoding="utf-8")
        result = CliRunner().invoke(app, ["explain", str(path), "-s", "H=64", "-s", "I=32"])
        assert result.exit_code == 0, result.output
        (line,) = [line for line in result.output.splitlines() if "flops per step  " in line]
        return int(line.split()[-1].replace(",", ""))

    assert flops("") - flops(f"param {RECURRENT} block_diagonal(4)") == 2 * 4 * 64**2 * 3 // 4


def test_trainable_and_frozen_parameters_are_counted_apart() -> None:
    cell = gated("param U_f diagonal", "param U_i sparse(0.1)", "param W_f frozen")
    facts = summarise(cell, cellc.schedule(cell))
    assert str(facts.parameters) == "3*H*I + 3*H^2 + 5*H"
    assert str(facts.frozen) == "H*I + H^2"
    frozen = {n for n in cell.params if "frozen" in dict(cell.nodes[n].attrs)}
    assert frozen == {"W_f", "U_i_mask"}


def test_frozen_weights_and_trainable_ones_are_different_cells() -> None:
    keys = {gated(*d).key() for d in [(), ("param U_f frozen",), ("param U_f sparse(1)",)]}
    assert len(keys) == 3


@pytest.mark.parametrize("target", ["numpy", "torch"])
@pytest.mark.parametrize("density", [0.05, 0.5, 1.0])
def test_density_and_spectral_radius_are_as_declared(target: str, density: float) -> None:
    words = f"sparse({density}) spectral_radius(0.9)"
    cell = gated(f"param U_f {words}", f"param U_i frozen {words}", "param U_o spectral_radius(2)")
    model = cellc.compile(cell, target)(input_size=3, hidden_size=90, seed=4)
    for gate, radius in (("f", 0.9), ("i", 0.9), ("o", 2.0)):
        if target == "numpy":
            weight = model.params[f"U_{gate}"]
        else:
            weight = getattr(model, f"U_{gate}").detach().double().numpy()
        assert np.abs(np.linalg.eigvals(weight)).max() == pytest.approx(radius, rel=1e-5)
        if gate != "o":
            assert (weight != 0).mean() == pytest.approx(density, abs=0.03)
    state = model.params if target == "numpy" else model.state_dict()
    mask = np.asarray(state["U_f_mask"])
    assert set(np.unique(mask)) <= {0.0, 1.0}
    assert (np.asarray(state["U_f"])[mask == 0] == 0).all()
    assert "U_i_mask" not in state


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_the_spectral_radius_of_other_structures(target: str) -> None:
    cell = gated(
        "param U_f block_diagonal(3) spectral_radius(0.5)",
        "param U_i diagonal spectral_radius(0.7)",
        "param U_o spectral_radius(0.8) = zeros()",
        "option radius = 0.6\nparam U_g spectral_radius(radius) = ones()",
    )
    model = cellc.compile(cell, target)(input_size=3, hidden_size=6, seed=1, radius=0.3)
    state = model.params if target == "numpy" else model.state_dict()
    blocks = block_matrix(np.asarray(state["U_f"], np.float64))
    assert np.abs(np.linalg.eigvals(blocks)).max() == pytest.approx(0.5, rel=1e-5)
    assert np.abs(np.asarray(state["U_i"])).max() == pytest.approx(0.7)
    assert not np.asarray(state["U_o"]).any()
    assert np.asarray(state["U_g"]) == pytest.approx(np.full((6, 6), 0.3 / 6))


def test_density_may_be_an_option() -> None:
    cell = gated("option density = 0.2", "param U_f sparse(density)")
    for density in (0.0, 1.0):
        for target in ("numpy", "torch"):
            model = cellc.compile(cell, target)(input_size=2, hidden_size=5, density=density)
            state = model.params if target == "numpy" else model.state_dict()
            assert (np.asarray(state["U_f_mask"]) == density).all()


@pytest.mark.parametrize("level", LEVELS)
def test_a_sparse_weight_keeps_its_pattern_in_training(level: str) -> None:
    cell = gated("param U_f sparse(0.4)", "param U_i block_diagonal(2)", "param U_g diagonal",
                 "param W_o frozen")  # fmt: skip
    model = cellc.compile(cell, "torch", level)(input_size=3, hidden_size=6, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    frozen = {name for name in cell.params if "frozen" in dict(cell.nodes[name].attrs)}
    assert frozen == {"U_f_mask", "W_o"}
    trained = [value for name, value in model.named_parameters() if name not in frozen]
    optimiser = torch.optim.SGD(trained, lr=0.5)
    model(torch.randn(4, 2, 3))[0].square().sum().backward()
    optimiser.step()
    after = model.state_dict()
    for name in ("U_i", "U_g", "U_f"):
        assert (after[name] != before[name]).any(), name
    for name in frozen:
        assert torch.equal(after[name], before[name]), name
    dropped = before["U_f_mask"] == 0
    assert dropped.any()
    assert not after["U_f"][dropped].any()


def test_gradients_of_every_structure() -> None:
    cell = gated("param U_f sparse(0.4)", "param U_i block_diagonal(2)", "param U_g diagonal")
    model = cellc.compile(cell, "torch")(input_size=2, hidden_size=4, seed=0).double()
    x = torch.randn(3, 2, 2, dtype=torch.float64)
    names = ("U_f", "U_i", "U_g")
    weights = [getattr(model, name).detach().clone().requires_grad_() for name in names]

    def loss(*values: torch.Tensor) -> torch.Tensor:
        given = dict(zip(names, values, strict=True))
        outputs: torch.Tensor = torch.func.functional_call(model, given, (x,))[0]
        return outputs.square().sum()

    assert torch.autograd.gradcheck(loss, weights)


CONV_LSTM = """cell conv_lstm
input x[D, X, Y]
state h[C, X, Y], c[C, X, Y]
dim C channels
dim D input_channels
dim X width
dim Y height
param W_f, W_i, W_o, W_g, U_f, U_i, U_o, U_g convolution({sizes})
param b_f[C]
f  = sigmoid(W·x + U·h + b)
i  = sigmoid(W·x + U·h + b)
o  = sigmoid(W·x + U·h + b)
g  = tanh(W·x + U·h + b)
c' = f*c + i*g
h' = o*tanh(c')
output h'
"""
PLANE = {"channels": 3, "input_channels": 2, "width": 5, "height": 4}


def conv_lstm_by_hand(params: dict[str, Array], x: Array) -> Array:
    """Shi et al. 2015 without peepholes, with torch's convolutions."""
    p = {name: torch.from_numpy(value) for name, value in params.items()}
    steps, batch = x.shape[:2]
    h = c = torch.zeros(batch, 3, *x.shape[3:], dtype=torch.float64)
    outputs = []
    for t in range(steps):
        net = {}
        for gate in GATES:
            net[gate] = F.conv2d(torch.from_numpy(x[t]), p[f"W_{gate}"], padding="same")
            net[gate] = net[gate] + F.conv2d(h, p[f"U_{gate}"], padding="same")
            bias = p[f"b_{gate}"]
            net[gate] = net[gate] + (bias[:, None, None] if bias.dim() == 1 else bias)
        c = torch.sigmoid(net["f"]) * c + torch.sigmoid(net["i"]) * torch.tanh(net["g"])
        h = torch.sigmoid(net["o"]) * torch.tanh(c)
        outputs.append(h)
    return np.asarray(torch.stack(outputs).numpy())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("sizes", ["3, 3", "2, 4", "1, 5"])
def test_a_convolutional_lstm_against_a_loop_by_hand(sizes: str) -> None:
    cell = cellc.parse(CONV_LSTM.format(sizes=sizes))
    verify(cell)
    assert parse_cell(print_cell(cell), TABLE) == cell
    rng = np.random.default_rng(3)
    x = rng.standard_normal((4, 3, 2, 5, 4))
    params = drawn(cell, 3, **PLANE)
    assert params["b_f"].shape == (3,)
    assert params["b_i"].shape == (3, 5, 4)
    expected = conv_lstm_by_hand(params, x)
    inside = np.arange(4)[:, None] < np.array([4, 2, 1])
    expected = np.where(inside[:, :, None, None, None], expected, 0)
    for level in LEVELS:
        assert np.abs(run_numpy(cell, level, params, x, **PLANE) - expected).max() < 1e-12
        assert np.abs(run_torch(cell, level, params, x, **PLANE) - expected).max() < 1e-12


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("sizes", "places"), [("3", "X"), ("4", "X"), ("2, 3, 2", "X, Y, Z")])
def test_convolutions_in_one_and_three_dimensions(sizes: str, places: str) -> None:
    dims = "\n".join(f"dim {name} size_{name.lower()}" for name in places.split(", "))
    cell = cellc.parse(
        f"cell conv\ninput x[2, {places}]\nstate h[3, {places}]\n{dims}\n"
        f"param W_h, U_h convolution({sizes})\nh' = tanh(W·x + U·h)\noutput h'\n"
    )
    extents = dict(zip("xyz", (5, 4, 3), strict=True))
    given = {f"size_{name.strip().lower()}": extents[name.strip().lower()]
             for name in places.split(",")}  # fmt: skip
    rng = np.random.default_rng(5)
    params = drawn(cell, 5, **given)
    x = rng.standard_normal((3, 3, 2, *given.values()))
    conv = {1: F.conv1d, 3: F.conv3d}[len(given)]
    h = torch.zeros(3, 3, *given.values(), dtype=torch.float64)
    expected = []
    for t in range(3):
        sums = conv(torch.from_numpy(x[t]), torch.from_numpy(params["W_h"]), padding="same")
        h = torch.tanh(sums + conv(h, torch.from_numpy(params["U_h"]), padding="same"))
        expected.append(np.where((t < np.array([3, 1, 1]))[(..., *[None] * (h.dim() - 1))], h, 0))
    for level in LEVELS:
        assert np.abs(run_numpy(cell, level, params, x, **given) - expected).max() < 1e-12
        assert np.abs(run_torch(cell, level, params, x, **given) - expected).max() < 1e-12


def test_a_convolution_counts_every_place() -> None:
    cell = cellc.parse(CONV_LSTM.format(sizes="3, 3"))
    facts = summarise(cell, cellc.schedule(cell, "O0")).as_dict({"C": 3, "D": 2, "X": 5, "Y": 4})
    assert facts["parameters"]["formula"] == "3*C*X*Y + 36*C*D + 36*C^2 + C"
    assert facts["flops_per_step"]["count"] == (
        2 * 4 * 9 * 3 * (3 + 2) * 20  # products
        + 4 * 2 * 60 + 3 * 4 * 60 + 2 * 4 * 60 + 4 * 60  # sums, sigmoids, tanh, the states
    )  # fmt: skip
    assert r"W_f \ast x_t + U_f \ast h_{t-1}" in latex(cell)


@pytest.mark.parametrize(
    ("declared", "body", "recurrence"),
    [
        ("param U_h diagonal", "h' = tanh(W·x + U·h)", "diagonal"),
        ("param U_h diagonal", "h' = W·x + U·h", "diagonal affine"),
        ("param U_h block_diagonal(2)", "h' = tanh(W·x + U·h)", "block"),
        ("param U_h sparse(0.1)", "h' = tanh(W·x + U·h)", "dense"),
        ("param U_h, V_h block_diagonal(2)", "h' = tanh(W·x + V·tanh(U·h))*h", "block"),
        ("param U_h block_diagonal(2)\nparam V_h block_diagonal(4)",
         "h' = tanh(W·x + V·tanh(U·h))", "dense"),
        ("param U_h block_diagonal(2)\nparam V_h block_diagonal(4)",
         "h' = tanh(W·x + V·h + U·h)", "dense"),
        ("param U_h block_diagonal(2)", "h' = softmax(W·x + U·h)", "dense"),
        ("param U_h block_diagonal(2)", "h' = tanh(W·x + U·h + sum(h))", "dense"),
        ("param U_h block_diagonal(2)", "h' = tanh(W·x + U·h) + V·h", "dense"),
        ("param U_s block_diagonal(2)\nparam U_h block_diagonal(4)\nstate s[H]",
         "h' = tanh(W·x + U·h + s)\ns' = tanh(U·s + h)", "dense"),
        ("param U_s block_diagonal(2)\nstate s[4*H]",
         "h' = tanh(W·x + V·s)\ns' = tanh(U·h)", "dense"),
        ("param U_s, V_h block_diagonal(2)\nstate s[4*H]",
         "h' = tanh(W·x + V·s)\ns' = tanh(U·h)*s", "block"),
    ],
)  # fmt: skip
def test_recurrence_classes(declared: str, body: str, recurrence: str) -> None:
    head = "cell one\ninput x[I]\nstate h[H]\n"
    cell = cellc.parse(f"{head}{declared}\n{body}\noutput h'\n")
    for level in LEVELS:
        (loop,) = cellc.schedule(cell, level).loops
        assert loop.recurrence == recurrence, level


@pytest.mark.parametrize("recurrence", ["block", "dense", "diagonal"])
def test_the_class_holds_for_the_jacobian(recurrence: str) -> None:
    body = {"block": "param U_h, V_h block_diagonal(3)\nh' = tanh((U·h)*h + V·tanh(h))",
            "dense": "param U_h block_diagonal(3)\nparam V_h block_diagonal(2)\n"
                     "h' = tanh(V·tanh(U·h))",
            "diagonal": "param U_h diagonal\nh' = tanh(U·h)"}[recurrence]  # fmt: skip
    cell = cellc.parse(f"cell one\ninput x[H]\nstate h[H]\n{body} + 0*x\noutput h'\n")
    model = cellc.compile(cell, "torch")(hidden_size=6, seed=0).double()
    start = torch.randn(1, 6, dtype=torch.float64)
    x = torch.zeros(1, 1, 6, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda h: model(x, h)[1])(start)[0, :, 0]
    inside = {"block": np.kron(np.eye(3), np.ones((2, 2))), "diagonal": np.eye(6),
              "dense": np.ones((6, 6))}[recurrence]  # fmt: skip
    assert not jacobian[torch.from_numpy(inside) == 0].any()
    (loop,) = cellc.schedule(cell).loops
    assert loop.recurrence == recurrence


def test_blocks_must_divide_the_units() -> None:
    cell = gated("dim K groups", f"param {RECURRENT} block_diagonal(K)")
    for target in ("numpy", "torch"):
        with pytest.raises(ValueError, match="H/K is no whole number"):
            cellc.compile(cell, target)(input_size=2, hidden_size=7, groups=2)


def test_a_structure_without_a_shape_asks_for_one() -> None:
    text = "cell t\ninput x[I]\nstate h[H], c[I]\nparam U_f block_diagonal(2)\nf = tanh(U·h)\n"
    with pytest.raises(CellcError, match="nothing determines the shape of `U_f`"):
        cellc.parse(text + "h' = h + sum(f)\nc' = x + sum(f)\noutput h'\n")
    stated = cellc.parse(text.replace("f = ", "f[3*H] = ") + "h' = h + sum(f)\nc' = x\noutput h'\n")
    assert str(stated.nodes["U_f"].type) == "[2, 3*H/2, H/2] over {}"


def test_the_pattern_stays_when_the_weight_is_frozen() -> None:
    masks = []
    for words in ("sparse(0.4)", "frozen sparse(0.4)"):
        model = cellc.compile(gated(f"param U_f {words}"), "numpy")(**SIZES)
        masks.append(model.params["U_f"] != 0)
    assert (masks[0] == masks[1]).all()
