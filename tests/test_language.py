"""What sentences of the language mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import cellc
from cellc.ops.notation import equations_of

HEAD = "cell c\ninput x[I]\nstate h[H]\n"


def _same(one: str, other: str) -> bool:
    return cellc.parse(one).key() == cellc.parse(other).key()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("h' = r*U·h + W·x\nr = tanh(h)", "h' = r*(U·h) + W·x\nr = tanh(h)"),
        ("h' = A·B·h + W·x\nparam B[H, H]", "h' = A·(B·h) + W·x\nparam B[H, H]"),
        ("h' = W @ x ⊙ h", "h' = (W·x)*h"),
        ("h' = σ(W⋅x − U∙h)", "h' = sigmoid(W·x - U·h)"),
        ("h' = -W·x^2 + h", "h' = -(W·(x^2)) + h"),
        ("h' = h^-2 + W·x", "h' = h**(-2) + W·x"),
        ("h' = 2*-h + W·x", "h' = 2*(-h) + W·x"),
        ("h' = max(h, W·x)", "h' = maximum(h, W·x)"),
        ("h' = h -\n  W·x", "h' = h - W·x"),
        ("h' = tanh(h +   # a comment\n  W·x)", "h' = tanh(h + W·x)"),
        ("h′ = h + W·x", "h' = h + W·x"),
        ("k(a) = 2*sigmoid(a) - 1\nh' = k(h) + W·x", "h' = (2*sigmoid(h) - 1) + W·x"),
        ("k(h) = 2*h\nh' = k(tanh(h)) + W·x", "h' = 2*tanh(h) + W·x"),
        ("ĝ = tanh(h)\nh' = ĝ + W·x", "g\u0302 = tanh(h)\nh' = g\u0302 + W·x"),
        ("µ = tanh(h)\nh' = µ + W·x", "\u03bc = tanh(h)\nh' = \u03bc + W·x"),
        ("h' = where(h ≤ 1, h, W·x)", "h' = where(h <= 1, h, W·x)"),
    ],
)
def test_two_spellings_of_one_meaning(one: str, other: str) -> None:
    assert _same(f"{HEAD}{one}\noutput h'\n", f"{HEAD}{other}\noutput h'\n")


def test_parameters_are_named_after_their_equation() -> None:
    cell = cellc.parse(f"{HEAD}f[H] = sigmoid(W·x + U·h + b)\nh' = f*h + V_xy·x + b_z\noutput h'\n")
    assert cell.params == ("W_f", "U_f", "b_f", "V_xy", "b_z")


def test_equations_may_stand_in_any_order_and_read_next_values() -> None:
    cell = cellc.load("peephole_lstm")
    assert equations_of(cell)["o"] == "sigmoid(W_o·[h, x] + p_o*c' + b_o)"
    lines = "h' = o*c'\no = sigmoid(W·c')\nc' = tanh(W·x) + c\n"
    text = f"cell a\ninput x[I]\nstate h[H], c[H]\n{lines}output h'\n"
    shuffled = text.replace(lines, "".join(f"{line}\n" for line in lines.split("\n")[::-1] if line))
    assert _same(text, shuffled)


def test_deriving_replaces_everywhere() -> None:
    cifg = cellc.load("cifg")
    assert "W_f" not in cifg.params
    assert equations_of(cifg)["f"] == "1 - i"
    child = cellc.parse("cell child from lstm\ng = relu(W·x + b)\n")
    assert equations_of(child)["c'"] == "f*c + i*g"
    assert str(child.nodes["W_g"].type) == "[H, I] over {}"


def test_deriving_with_renaming_keeps_the_old_value_at_hand() -> None:
    cell = cellc.parse(
        "cell slow from peephole_lstm with c' as c̃, h' as h̃\n"
        "k = sigmoid(W·x + b)\n"
        "c' = k*c̃ + (1 - k)*c\nh' = k*h̃ + (1 - k)*h\n"
    )
    equations = equations_of(cell)
    assert equations["h̃"] == "o*tanh(c̃)"
    assert equations["o"] == "sigmoid(W_o·[h, x] + p_o*c̃ + b_o)"
    assert cell.values("output") == {"h'": "h'"}
    module = cellc.compile(cell, "numpy")(2, 3)
    assert "W_k" in module.params


def test_an_output_that_is_renamed_and_not_redefined_goes_along() -> None:
    text = "cell a\ninput x[H]\nstate h[H]\ny = tanh(h)\nh' = h + x\noutput y\n"
    cell = cellc.parse(text + "cell b from a with y as z\nh' = z + x\n")
    assert cell.values("output") == {"z": "z"}


def test_a_base_is_looked_for_beside_the_file_first(tmp_path: Path) -> None:
    text = f"{HEAD}h' = 0.25*h + W·x\noutput h'\n".replace("cell c", "cell lstm")
    (tmp_path / "lstm.cell").write_text(text)
    (tmp_path / "mine.cell").write_text("cell mine from lstm\n")
    assert equations_of(cellc.load(tmp_path / "mine.cell"))["h'"] == "0.25*h + W_h·x"


def test_a_file_with_several_cells_gives_its_namesake(tmp_path: Path) -> None:
    text = f"{HEAD}h' = h + W·x\noutput h'\n"
    (tmp_path / "two.cell").write_text(text.replace("cell c", "cell two") + text)
    assert cellc.load(tmp_path / "two.cell").name == "two"
    (tmp_path / "other.cell").write_text(text.replace("cell c", "cell two") + text)
    assert cellc.load(tmp_path / "other.cell").name == "c"


def test_initial_values() -> None:
    cell = cellc.parse(
        f"{HEAD}param τ[H] = exp(uniform(0, 8))\nparam s[H] = uniform(0, τ)\n"
        "param r[H] = 0.05\nparam W_h[H, I] = orthogonal()\nparam q[H] = normal(1, 0.01)\n"
        "param U_h[H, H] = identity()\nparam k[H] = uniform(-1/H, 1/H)\n"
        "h' = tanh(W·x + U·h + τ + s + r + q + k)\noutput h'\n"
    )
    one = cellc.compile(cell, "numpy")(3, 50, seed=4)
    p = one.params
    assert p["tau"].min() >= 1
    assert p["tau"].max() <= np.exp(8)
    assert (p["s"] >= 0).all()
    assert (p["s"] <= p["tau"]).all()
    assert (p["r"] == 0.05).all()
    assert np.allclose(p["W_h"].T @ p["W_h"], np.eye(3))
    assert (p["U_h"] == np.eye(50)).all()
    assert np.abs(p["q"] - 1).max() < 0.06
    assert np.abs(p["k"]).max() <= 0.02
    module = cellc.compile(cell, "torch")(3, 50, seed=4)
    assert bool((module.s >= 0).all() and (module.s <= module.tau).all())
    assert np.allclose(module.W_h.detach().T @ module.W_h.detach(), np.eye(3), atol=1e-6)


def test_a_learnt_initial_state() -> None:
    cell = cellc.parse(
        "cell learnt\ninput x[H]\nparam h0[H] = 0.5\nstate h[H], c[H] = h0\n"
        "h' = h + x\nc' = c + x\noutput h', c'\n"
    )
    run = cellc.compile(cell, "numpy")(3)
    (y, _), _ = run(np.zeros((1, 3)))
    assert np.allclose(y, 0.5)
    module = cellc.compile(cell, "torch")(3)
    (z, _), _ = module(torch.zeros(1, 3))
    z.sum().backward()
    assert np.allclose(module.h0.grad, 1)


def test_earlier_values_are_shifts_that_carry_on_between_calls() -> None:
    cell = cellc.parse(f"{HEAD}h' = 0*h + W·prev(x) + V·prev(x, 2)\noutput h'\n")
    run = cellc.compile(cell, "numpy")(2, 3)
    x = np.random.default_rng(0).standard_normal((6, 2))
    y, state = run(x)
    w, v = run.params["W_h"], run.params["V_h"]
    before = np.vstack((np.zeros((2, 2)), x))
    assert np.allclose(y, before[1:-1] @ w.T + before[:-2] @ v.T)
    first, middle = run(x[:1])
    second, last = run(x[1:], middle)
    assert np.allclose(np.vstack((first, second)), y)
    assert all(np.allclose(a, b) for a, b in zip(state, last, strict=True))


def test_options_and_named_dimensions_are_constructor_arguments() -> None:
    cell = cellc.parse(
        f"{HEAD}dim K classes = 3\noption rate = 0.1\nh' = (1 - rate)*h + rate*tanh(W·x)\n"
        "y[K] = softmax(V·h' + b)\noutput y\n"
    )
    run = cellc.compile(cell, "numpy")(2, 4, rate=0.5)
    assert run(np.ones((5, 2)))[0].shape == (5, 3)
    assert cellc.compile(cell, "torch")(2, 4, classes=7).V_y.shape == (7, 4)


def test_blocks_broadcast_by_the_names_of_their_dimensions() -> None:
    cell = cellc.parse(
        "cell blocks\ninput x[I]\ndim N blocks\ndim S cells\nstate h[N, S], c[N, S]\n"
        "f[N] = sigmoid(W·h + U·x + b)\ng[N, S] = tanh(W·h + U·x + b)\n"
        "c' = f*c + (1 - f)*g\nh' = tanh(c')\noutput h'\n"
    )
    assert str(cell.nodes["W_f"].type) == "[N, N, S] over {}"
    sizes = {"input_size": 3, "blocks": 2, "cells": 4}
    run = cellc.compile(cell, "numpy")(**sizes)
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    y, _ = run(x)
    h = c = np.zeros((2, 2, 4))
    p = run.params
    for t in range(5):
        net = np.einsum("nms,bms->bn", p["W_f"], h) + x[t] @ p["U_f"].T + p["b_f"]
        f = 1 / (1 + np.exp(-net))
        g = np.tanh(np.einsum("nsmr,bmr->bns", p["W_g"], h)
                    + np.einsum("nsi,bi->bns", p["U_g"], x[t]) + p["b_g"])  # fmt: skip
        c = f[:, :, None] * c + (1 - f[:, :, None]) * g
        h = np.tanh(c)
        assert np.allclose(y[t], h)


def test_comments_become_documentation() -> None:
    assert cellc.load("lstm").comments["f"] == "forget gate"
    assert "forget gate" in cellc.emit(cellc.load("lstm"))


def test_a_quotient_of_dimensions_must_be_whole() -> None:
    cell = cellc.parse(f"{HEAD}dim K heads\nv[H/K] = tanh(W·x)\nh' = tanh(U·v + h)\noutput h'\n")
    for target in ("numpy", "torch"):
        compiled = cellc.compile(cell, target)
        assert compiled(2, 6, heads=3) is not None
        with pytest.raises(ValueError, match="H/K is no whole number"):
            compiled(2, 5, heads=3)


def test_the_next_value_of_the_step_before_is_the_present_one() -> None:
    one = f"{HEAD}h' = tanh(W·x + U·prev(h'))\noutput h'\n"
    assert _same(one, one.replace("prev(h')", "h"))
    two = f"{HEAD}h' = tanh(W·x + U·h) + prev(h', 2)\noutput h'\n"
    assert _same(two, two.replace("prev(h', 2)", "prev(h)"))


def test_a_shipped_cell_is_compiled_by_its_name() -> None:
    assert cellc.emit("gru") == cellc.emit(cellc.load("gru"))
    assert cellc.compile("gru", "numpy").__name__ == "Gru"
    assert cellc.draw("gru").dot == cellc.draw(cellc.load("gru")).dot
