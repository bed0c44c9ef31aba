"""Odd but legal cells: what the usual ones do not ask of the backends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cellc
from cellc.ir import TIME
from cellc.resources import shipped_specs
from tests.running import Trial, difference, listed

HEAD = "cell c\ninput x[H]\nstate h[H]\n"
TWO = "cell c\ninput x[H]\nstate h[H], c[H]\n"
ODD = (
    TWO + "h' = c\nc' = tanh(h + x)\noutput h', c'\n",
    TWO + "h' = tanh(x + h + c)\nc' = h'\noutput h', c'\n",
    TWO + "h' = c + 0*x\nc' = h\noutput h', x\n",
    HEAD + "h' = h + x\noutput prev(x, 2)\n",
    HEAD + "h' = 0.5*h + x\nb0 = h' + 2\noutput2 = h' + 1\noutput h', b0, output2\n",
    HEAD + "number_1 = tanh(h)\nh' = max(number_1, 0.5) + x\noutput h'\n",
    HEAD + "option r = 0.3\nh' = exp(-r)*h + clip(x, -r, r)\noutput h', r\n",
    "cell c\ninput x[H]\nstate s\ns' = 0.5\noutput x*s\n",
    HEAD + "param p[H]\nh' = 0.5*h + x\noutput [p, x], p, 0.5\n",
    "cell c\ninput x[H], shifted[H]\nstate h[H]\nh' = tanh(h + prev(x))*shifted\noutput h'\n",
    HEAD + "param k[]\nf = sigmoid(W·x + k)\nh' = f*(V·x) + h\noutput h'\n",
    HEAD + "dim K heads = 3\nf[H] = W·h + b\ni[K] = W·h\nh' = f + sum(i) + x\noutput h'\n",
    HEAD + "v[H] = U·h\nw = V·h + b\nh' = tanh(v + b)*w + x\noutput h', v\n",
    "cell c\ninput x[H]\nstate M[H, H], N[H, H]\nM' = 0.5*M + outer(x, x)\n"
    "N' = 0.3*N + outer(x, x)\noutput M·x, N·x\n",
    HEAD + "s = W·h + U·x\nh' = tanh(s + b) + s\noutput h'\n",
    "cell c\ninput x[H], t\nstate h[H]\nh' = tanh(W·h + t + (U·x + b))\noutput h'\n",
    "cell c\ninput x[H]\nstate h[H]\nh' = where(1 < 2, x, h) + where(2 < 1, 3, 4)\noutput h'\n",
    HEAD + "h' = tanh(W·x + 1/sqrt(H)*h)\noutput h'\n",
    HEAD + "z[3*H] = W·x\na, d, e = split(z)\nh' = tanh(a)*sigmoid(d)*sigmoid(e)\n"
    "v[H] = 0.5*prev(v) + U·x\noutput h', v\n",
)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("text", ODD)
def test_odd_cells_agree(text: str, ragged: bool) -> None:
    for seed in range(3):
        trial = Trial(cellc.parse(text), seed, ragged)
        reference = trial.numpy("O0")
        for level in ("O0", "O2"):
            assert difference(trial.numpy(level), reference) < 1e-12
            assert difference(trial.torch(level), reference) < 1e-12


@pytest.mark.parametrize("text", [*ODD, *(path.read_text() for path in shipped_specs().values())])
def test_steps_in_a_row_are_the_whole_run(text: str) -> None:
    trial = Trial(cellc.parse(text), 4, ragged=False)
    run = cellc.compile(trial.cell, "numpy")(**trial.sizes)
    run.params = dict(trial.params)
    if not hasattr(run, "step"):
        pytest.skip("its steps need whole sequences, or there are several axes")
    state = trial.state[0] if len(trial.state) == 1 else tuple(trial.state)
    told = {} if TIME in trial.along else {"steps": trial.steps[TIME]}
    outputs, end = run(*trial.inputs, state, **told)
    timed = [TIME in trial.cell.nodes[name].type.extent for name in trial.cell.inputs]
    for t in range(trial.steps[TIME]):
        given = [x[t] if along else x for x, along in zip(trial.inputs, timed, strict=True)]
        now, state = run.step(*given, state)
        for a, b in zip(listed(now), listed(outputs), strict=True):
            assert np.shape(a) == b[t].shape
            assert np.allclose(a, b[t], atol=1e-12)
    assert all(np.allclose(a, b) for a, b in zip(listed(state), listed(end), strict=True))


def test_a_start_broadcasts_by_name() -> None:
    cell = cellc.parse(
        "cell c\ninput x[N]\ndim N blocks\ndim S cells\nparam a[N]\n"
        "param B[N, S]\nstate h[N, S] = a*B\nh' = 0.5*h + x\noutput h'\n"
    )
    run, module = cellc.compile(cell, "numpy")(2, 2), cellc.compile(cell)(2, 2)
    assert np.allclose(run.initial_state(1)[0], run.params["a"][:, None] * run.params["B"])
    assert torch.allclose(module.initial_state(1)[0], module.a[:, None] * module.B)


def test_numpy_runs_one_sequence_and_keeps_its_type_and_shapes() -> None:
    run = cellc.compile(cellc.load("gru"), "numpy")(3, 5, dtype=np.float32)
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    y, h = run(x)
    assert y.dtype == h.dtype == np.float32
    _, middle = run(x[:2, 0])
    assert np.allclose(run(x[2:, 0], middle)[0], y[2:, 0], atol=1e-6)
    again = cellc.compile(cellc.load("gru"), "numpy")(3, 5, seed=0, dtype=np.float32)
    assert all((run.params[k] == again.params[k]).all() for k in run.params)
    filled = cellc.parse(HEAD + "param p[H] = 0.5\nh' = p*h + x\noutput h'\n")
    assert cellc.compile(filled, "numpy")(4).params["p"].shape == (4,)


@pytest.mark.parametrize(
    "value", ["(x < 9) + (x < 8)", "-(x < 9)", "softmax(x < 3)", "W·(x < 3)", "[x < 3, x]", "x < 3"]
)
def test_a_comparison_is_no_number(value: str) -> None:
    with pytest.raises(cellc.CellcError, match="a comparison is no number"):
        cellc.parse(HEAD + f"h' = h + x\ny[H] = {value}\noutput y\n")


def test_inputs_must_be_of_one_batch() -> None:
    cell = cellc.parse("cell c\ninput x[H], t\nstate h[H]\nh' = h + t*x\noutput h'\n")
    module = cellc.compile(cell)(3)
    assert module(torch.zeros(4, 2, 3), torch.zeros(4, 2))[0].shape == (4, 2, 3)
    with pytest.raises(ValueError, match="inputs differ"):
        module(torch.zeros(4, 2, 3), torch.zeros(2, 4))


@pytest.mark.parametrize("name", ["hidden_size", "batch_first", "train"])
def test_a_parameter_may_not_hide_what_the_module_needs(name: str) -> None:
    cell = cellc.parse(f"cell c\ninput x[H]\nstate h[H]\nparam {name}[H]\n"
                       f"h' = h + x*{name}\noutput h'\n")  # fmt: skip
    with pytest.raises(cellc.CellcError, match="attribute of the torch module"):
        cellc.emit(cell)


@pytest.mark.parametrize(
    "start", ["1/H", "p/H", "1/sqrt(H)", "p*max(p, 0.5)", "-p", "exp(p)*0.5 + rate", "max(p, rate)"]
)
def test_what_a_state_starts_with(start: str) -> None:
    cell = cellc.parse(
        f"cell c\ninput x[H]\noption rate = 0.25\nparam p[H]\nstate h[H] = {start}\n"
        "h' = 0.5*h + rate*x + p\noutput h'\n"
    )
    trial = Trial(cell, 3)
    known = {"p": next(iter(trial.params.values())), "rate": 0.25, "H": trial.sizes["hidden_size"]}
    known |= {"exp": np.exp, "sqrt": np.sqrt, "max": np.maximum}
    want = np.broadcast_to(eval(start, known), (2, trial.sizes["hidden_size"]))  # noqa: S307
    for level in ("O0", "O2"):
        run = cellc.compile(cell, "numpy", level)(**trial.sizes)
        run.params = dict(trial.params)
        assert np.allclose(run.initial_state(2), want)
        module = trial.module(level)
        assert np.allclose(module.initial_state(2).detach(), want)
        assert np.allclose(module(torch.from_numpy(trial.inputs[0]))[0].detach(),
                           run(trial.inputs[0])[0])  # fmt: skip
