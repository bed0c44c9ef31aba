"""Equations as a paper prints them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import cellc
from cellc.ops import Op, register, unregister
from cellc.passes.pipelines import optimise
from cellc.resources import shipped_specs
from cellc.views.latex import latex, written
from cellc.views.names import Naming, moment

SPECS = list(shipped_specs())

LSTM = r"""
\begin{aligned}
f_t &= \sigma(W_f [h_{t-1}, x_t] + b_f) \\
i_t &= \sigma(W_i [h_{t-1}, x_t] + b_i) \\
o_t &= \sigma(W_o [h_{t-1}, x_t] + b_o) \\
g_t &= \tanh(W_g [h_{t-1}, x_t] + b_g) \\
c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
h_t &= o_t \odot \tanh(c_t)
\end{aligned}
"""

GRU = r"""
\begin{aligned}
r_t &= \sigma(W_r x_t + U_r h_{t-1} + b_r) \\
z_t &= \sigma(W_z x_t + U_z h_{t-1} + b_z) \\
n_t &= \tanh(W_n x_t + U_n (r_t \odot h_{t-1}) + b_n) \\
h_t &= z_t \odot h_{t-1} + (1 - z_t) \odot n_t
\end{aligned}
"""

PHASED_SPEC = """
cell phased
input x[I]
input s
state h[H]
param τ[H]
param r[H]
leak = 0.001
i  = sigmoid(W_xi·x + W_hi·h + b)
ĝ  = tanh(W·x + U·prev(x, 2) + b)
c̃  = i*h + (1 - i)*ĝ
φ  = mod(s, τ)/τ
k  = where(φ < r/2, 2*φ, leak*φ)
h' = k*c̃ + (1 - k)*h
output h'
"""

CASES = (
    r"2 \phi_t & \text{if } \phi_t < \frac{r}{2} \\ "
    r"\mathrm{leak} \, \phi_t & \text{otherwise}"
)

PHASED = r"""
\begin{aligned}
\mathrm{leak} &= 0.001 \\
i_t &= \sigma(W_{xi} x_t + W_{hi} h_{t-1} + b_i) \\
\hat{g}_t &= \tanh(W_{\hat{g}} x_t + U_{\hat{g}} x_{t-2} + b_{\hat{g}}) \\
\tilde{c}_t &= i_t \odot h_{t-1} + (1 - i_t) \odot \hat{g}_t \\
\phi_t &= \frac{s_t \bmod \tau}{\tau} \\
k_t &= \begin{cases} CASES \end{cases} \\
h_t &= k_t \odot \tilde{c}_t + (1 - k_t) \odot h_{t-1}
\end{aligned}
"""


def right_side(expression: str, *lines: str) -> str:
    """The last line's right side for ``y = expression`` over vectors a, b, c of size H."""
    text = "\n".join(["cell one", "input a[H], b[H], c[H]", "state h[H]", *lines,
                      f"y = {expression}", "h' = y + a + b + c", "output y"])  # fmt: skip
    (line,) = [x for x in latex(cellc.parse(text + "\n")).splitlines() if x.startswith("y_t &=")]
    return line.removeprefix("y_t &= ").removesuffix(r" \\")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (cellc.load("lstm"), LSTM),
        (cellc.load("gru"), GRU),
        (cellc.parse(PHASED_SPEC), PHASED.replace("CASES", CASES)),
    ],
    ids=["lstm", "gru", "phased"],
)
def test_golden(text: cellc.Cell, wanted: str) -> None:
    assert latex(text) == wanted.strip()


@pytest.mark.parametrize(
    ("expression", "printed"),
    [
        ("(a + b)*c", r"(a_t + b_t) \odot c_t"),
        ("a + b*c", r"a_t + b_t \odot c_t"),
        ("a - (b - c)", r"a_t - (b_t - c_t)"),
        ("a - b - c", r"a_t - b_t - c_t"),
        ("a - (b + c)", r"a_t - (b_t + c_t)"),
        ("(a + b)/(b - c)", r"\frac{a_t + b_t}{b_t - c_t}"),
        ("sigmoid(a + b)^2", r"{\sigma(a_t + b_t)}^{2}"),
        ("(a + b)^2", r"{(a_t + b_t)}^{2}"),
        ("(a/b)^2", r"{\left(\frac{a_t}{b_t}\right)}^{2}"),
        ("-(a + b)", r"-(a_t + b_t)"),
        ("a*(-b)", r"a_t \odot (-b_t)"),
        ("-a*b", r"-a_t \odot b_t"),
        ("mod(a + b, c)", r"(a_t + b_t) \bmod c_t"),
        ("a + mod(b*c, c)", r"a_t + ((b_t \odot c_t) \bmod c_t)"),
        ("a*mod(b, c)", r"a_t \odot (b_t \bmod c_t)"),
        ("0.5*a", "0.5 a_t"),
        ("a*0.5", r"a_t \cdot 0.5"),
        ("2*(a + b)", "2 (a_t + b_t)"),
        ("max(0, a)", r"\max(0, a_t)"),
        ("sqrt(a + b)", r"\sqrt{a_t + b_t}"),
        ("0.00001*a", r"10^{-5} \, a_t"),
        ("lerp(a, b + c, c)", r"(1 - c_t) \odot a_t + c_t \odot (b_t + c_t)"),
        ("a*lerp(a, b, c)", r"a_t \odot ((1 - c_t) \odot a_t + c_t \odot b_t)"),
        ("W·(a*b)", r"W_y (a_t \odot b_t)"),
        ("W·V·a", "W_y V_y a_t"),
        ("a*W·b", r"a_t \odot W_y b_t"),
    ],
)
def test_brackets_stand_where_precedence_asks(expression: str, printed: str) -> None:
    extra = ["param V[H, H]", "param W[H, H]"] if "V" in expression else []
    wanted = printed.replace("W_y V_y", "W V") if extra else printed
    assert right_side(expression, *extra) == wanted


def test_names() -> None:
    text = "cell a\ninput x1[I]\nstate h[H]\nΓ = tanh(W·x1 + b)\ng_new = Γ*h\nh' = g_new\n"
    printed = latex(cellc.parse(text + "output h'\n"))
    assert r"\Gamma_t &= \tanh(W_{\Gamma} x_{1,t} + b_{\Gamma})" in printed
    assert r"g_{new,t} &= \Gamma_t \odot h_{t-1}" in printed
    assert r"h_t &= g_{new,t}" in printed


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("leaky_rnn", r"\mu_t &= \alpha \, \mu_{t-1} + (1 - \alpha) \, v_t"),
        ("phased_lstm", r"\tilde{c}_t &= f_t \odot c_{t-1} + i_t \odot g_t"),
        ("phased_lstm", r"\phi_t &= \frac{(t_t - s) \bmod \tau}{\tau}"),
        ("phased_lstm", r"\frac{r}{2} \\ 2 - \frac{2 \phi_t}{r} & \text{if } \phi_t < r \\ "),
        ("fgr", r" + R_{oi} o_{t-1} + b_i)"),
        ("recurrent_dropout_lstm", r"\frac{g_t \odot \operatorname{keep}(\mathrm{mask}_{g,t}, p)}"),
        ("highway", r"h_t^{(2)} &= z_t^{(2)} \odot h_t^{(1)} + (1 - z_t^{(2)}) \odot n_t^{(2)}"),
        ("gated_feedback_rnn", r"\mathrm{past}_t &= \operatorname{stack}(h_{t-1}^{(1)}, "),
        ("grid_lstm_2d", r"\sigma(W_f^{(h_1,2)} [h_{1,t-1}^{(2)}, h_t^{(h_2,1)}] + "),
        ("grid_lstm_2d_tied", r"f_t^{(h_1,2)} &= \sigma(W_f^{(T,2)} [h_{1,t-1}^{(2)}, "),
        ("grid_lstm_3d", r"x_t^{(3)} &= {x_t}_{[3]}"),
        ("grid_lstm_3d", r"h_t^{(h_1,3,2)} &= o_t^{(h_1,3,2)} \odot \tanh(m_t^{(h_1,3,2)})"),
        ("deep_rnn", r"U_h^{(\mathrm{rnn},2)} h_t^{(\mathrm{rnn},1)}"),
        ("bidirectional_rnn", r"\operatorname{reverse}(h_t^{(\mathrm{rnn},\mathrm{backward})})]"),
        ("one_to_many", r"&= W^{(y,\mathrm{linear})} h_t^{(y)} + b^{(y,\mathrm{linear})}"),
        ("one_to_many", "y_0 &= x"),
        ("seq2seq_lstm", r"h_s^{(\mathrm{decoder},2)} &= o_s^{(\mathrm{decoder},2)} \odot"),
        ("seq2seq_lstm", r"h_0^{(\mathrm{decoder},1)} &= \operatorname{last}(h_t^{(\mathrm{"),
        ("many_to_one", r"\mathrm{last} &= \operatorname{last}(h_t^{(\mathrm{lstm})})"),
    ],
)  # fmt: skip
def test_positions_steps_and_applied_cells(name: str, line: str) -> None:
    assert line in latex(cellc.load(name))


def test_a_capital_before_a_capital_is_no_applied_cell() -> None:
    text = "cell a\ninput x[I]\nstate h[H]\nK = tanh(W·x + b)\nh' = K*h\noutput h'\n"
    assert r"K_t &= \tanh(W_K x_t + b_K)" in latex(cellc.parse(text))


def test_values_of_earlier_steps() -> None:
    text = "cell a\ninput x[H]\nstate h[H]\nh' = x + prev(x, 3) + prev(h') + prev(h)\n"
    assert "h_t &= x_t + x_{t-3} + h_{t-1} + h_{t-2}" in latex(cellc.parse(text + "output h'\n"))


def test_an_output_without_a_name_has_a_line() -> None:
    text = "cell a\ninput x[H]\nstate h[H]\nh' = x + h\noutput h', sigmoid(h')\n"
    assert r"{output}_{2,t} &= \sigma(h_t)" in latex(cellc.parse(text))


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("level", ["O0", "O2"])
def test_brackets_and_environments_are_balanced(name: str, level: str) -> None:
    cell = optimise(cellc.load(name), level)
    printed = latex(cell)
    for opening, closing in ("{}", "()", "[]", (r"\begin", r"\end"), (r"\left", r"\right")):
        assert printed.count(opening) == printed.count(closing)
    assert "%" not in printed
    assert "$" not in printed
    naming = Naming(cell)
    for state in cell.states:
        base, back = moment(cell, state)
        symbol = naming.taken_apart(base, naming.step(state, (back or 0) + 1))
        assert f"{written(symbol)} &= " in printed or base != state
    assert not re.search(r"_\{[^{}]*\}_|_\w_|\^\{[^{}]*\}\^", printed)


@pytest.fixture
def toy() -> Iterator[Op]:
    yield register(
        Op(
            "toy_op",
            "A toy.",
            "elementwise",
            ("a", "b"),
            spelling="a + b",
            latex=r"$a - $b \odot $a",
        )
    )
    unregister("toy_op")


def test_an_op_from_outside_is_bracketed(toy: Op) -> None:
    assert right_side("c*toy_op(a, b + c)") == r"c_t \odot (a_t - (b_t + c_t) \odot a_t)"
