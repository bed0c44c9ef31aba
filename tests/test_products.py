"""How many products a step does, whatever the way in which the equations are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cellc
from cellc import ops
from cellc.ir import Cell, Dim, Node, print_cell, verify
from cellc.ir.dimension import product
from cellc.ops import TABLE
from cellc.ops.op import Op
from cellc.passes.associate import AssociateProducts
from cellc.passes.edit import Edit, in_order
from cellc.passes.factor import FactorProducts
from cellc.passes.fuse_matmul import FuseMatmul
from cellc.passes.hoist import SplitProducts
from cellc.passes.join_products import JoinProducts
from cellc.passes.pipelines import optimise
from cellc.resources import shipped_specs
from cellc.views.summary import flops_of
from tests.running import Trial, difference

GOLDEN = Path(__file__).parent / "golden" / "passes"
HEAD = "cell small\ninput x[I]\nstate h[H], c[H]\nc' = sigmoid(c + h)\n"

#: Products before or after the loop and in it, at O2, of the shipped cells with several.
PRODUCTS = {
    "f_lstm": (1, 2), "fgr": (1, 2), "g_lstm": (1, 1), "gated_feedback_gru": (1, 6),
    "gated_feedback_lstm": (1, 6), "gated_feedback_rnn": (1, 4), "grid_lstm_2d": (5, 2),
    "grid_lstm_2d_priority": (3, 4), "lstm_1997": (1, 1), "memory_block": (2, 2),
    "one_to_many": (0, 2), "recurrent_highway": (1, 2), "stacked_lstm": (2, 2),
}  # fmt: skip


def small(body: str) -> Cell:
    return cellc.parse(f"{HEAD}{body}\noutput h'\n")


def counted(cell: Cell) -> tuple[int, int]:
    """Products outside the loops and in them, at O2."""
    schedule = cellc.schedule(cell)
    kinds = {n: TABLE[node.op.name].kind for n, node in schedule.cell.nodes.items()}
    inside = sum(kinds[n] == "contraction" for n in schedule.values_in_loops())
    return sum(kind == "contraction" for kind in kinds.values()) - inside, inside


def sizes_of(cell: Cell) -> dict[str, int]:
    return {name: a.default or 1 if a.fixed else 4 for name, a in cell.dims.items()}


def preserved(cell: Cell, seed: int = 0) -> None:
    """O2 has the value of the cell as written, in both backends, for no more flops."""
    trial = Trial(cell, seed)
    reference = trial.numpy("O0")
    assert difference(trial.numpy("O2"), reference) < 1e-12
    assert difference(trial.torch("O2"), reference) < 1e-12
    assert flops(cell, "O2") <= flops(cell, "O0")


def flops(cell: Cell, level: str) -> int:
    """The flops of the products of one step."""
    schedule = cellc.schedule(cell, level)
    products = [n for n, node in schedule.cell.nodes.items()
                if TABLE[node.op.name].kind == "contraction" and node.type.extent]  # fmt: skip
    total = sum((product_flops(schedule.cell, name) for name in products), start=Dim.of(0))
    return total.evaluate(sizes_of(cell))


def product_flops(cell: Cell, name: str) -> Dim:
    """The flops of a product, without those of a sum that it is combined with."""
    node = cell.nodes[name]
    sum_of_it = product(node.type.shape) if len(node.args) > 2 else Dim.of(0)
    return flops_of(cell, name) - sum_of_it


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_a_step(name: str) -> None:
    assert counted(cellc.load(name)) == PRODUCTS[name]


@pytest.mark.parametrize("name", tuple(shipped_specs()))
def test_no_level_costs_more_flops(name: str) -> None:
    cell = cellc.load(name)
    assert flops(cell, "O2") <= flops(cell, "O0")


@pytest.mark.parametrize(
    ("body", "inside"),
    [
        ("h' = tanh(W·h + U·c)", 1),
        ("h' = tanh(W·[h, c] + b)", 1),
        ("h' = tanh(W·[h, x, c] + b)", 1),
        ("f = sigmoid(W·[h, c])\nh' = f*tanh(W·h + U·c + V·x)", 1),
        ("f = sigmoid(W·[h, c])\nh' = f*tanh(W·[c, h] + b)", 1),
        ("f = sigmoid(W·[h, c])\nh' = f*tanh(W·h)", 2),  # one would multiply by zeros
        ("f = sigmoid(W·h + U·c + b)\nh' = f*tanh(W·c + U·tanh(h))", 2),
        ("f = sigmoid(W·h)\nh' = f*tanh(W·c)", 2),
        ("u[H] = W·h\nh' = tanh(u + U·c)*u", 2),  # the product itself is needed
        ("v = outer(tanh(h), c)\nh' = tanh(W·v + U·h + V·c)", 2),
        ("h' = tanh(W·h + U·h)", 1),
    ],
)
def test_products_in_the_loop(body: str, inside: int) -> None:
    cell = small(body + " + 0*sum(x)" * ("x" not in body))
    assert counted(cell)[1] == inside
    preserved(cell)


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, int, int]:
    """A cell whose gates multiply some of five vectors, and how many vectors and sets it has."""
    vectors = ("h", "c", "tanh(h)", "c*h", "x")
    rows = draw(st.lists(st.sets(st.sampled_from(vectors), min_size=1), min_size=1, max_size=5))
    lines = []
    for number, row in enumerate(rows):
        ordered = draw(st.permutations(sorted(row)))
        if draw(st.booleans()):
            terms = [f"W_{number}·[{', '.join(ordered)}]"]
        else:
            terms = [f"(W_{number}{place}·({v}))" for place, v in enumerate(ordered)]
        lines.append(f"v{number}[H] = sigmoid({' + '.join([*terms, f'b_{number}'])})")
    total = " + ".join(f"v{number}" for number in range(len(rows)))
    within = [row - {"x"} for row in rows if row - {"x"}]
    columns = {v: tuple(v in row for row in within) for v in set().union(*within)}
    best = min(len(set(map(frozenset, within))), len(set(columns.values())))
    return "\n".join([*lines, f"h' = 0.2*({total}) + 0*sum(x)"]), best, len(columns)


@settings(max_examples=15, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
@given(tables(), st.integers(0, 99))
def test_any_table_of_gates_and_vectors(drawn: tuple[str, int, int], seed: int) -> None:
    body, best, vectors = drawn
    cell = small(body)
    assert counted(cell)[1] <= min(best, vectors)
    preserved(cell, seed)
    for step in (SplitProducts(), FactorProducts(), JoinProducts(), FuseMatmul()):
        cell = step.run(cell)
        verify(cell)
        assert step.run(cell) == cell


def test_a_weight_that_is_cut_and_joined_again_is_itself() -> None:
    cell = optimise(small("f = sigmoid(W·[h, c])\nh' = f*tanh(W·h + U·c) + 0*sum(x)"), "O2")
    assert not any(node.op.name == "slice" and "axis" in dict(node.attrs)
                   for node in cell.nodes.values())  # fmt: skip


def test_what_follows_the_loop_does_not_enter_it_with_a_stack() -> None:
    cell = cellc.parse(
        "cell read\ndim K classes\ninput x[I]\nstate h[H]\nm = tanh(W·x + U·h)\n"
        "h' = tanh(W·m + h)\ny[K] = V·m\noutput y\n"
    )
    assert counted(cell) == (2, 2)
    preserved(cell)


CONVOLVING = (
    "cell convolving\ndim D depth\ndim C channels\ndim X width\ninput x[D, X]\nstate h[C, X]\n"
    "param W_f, W_h, U_f, U_h, V_h convolution(3)\n"
    "f[C, X] = sigmoid(W·x + U·h + b)\n"
    "h' = f*tanh(W·x + U·h {more} + b)\noutput h'\n"
)


def test_filters_stack_along_their_channels() -> None:
    cell = cellc.parse(CONVOLVING.format(more="").replace(", V_h", ""))
    assert counted(cell) == (1, 1)
    preserved(cell)


def test_filters_join_along_what_they_read() -> None:
    cell = cellc.parse(
        "cell convolving\ndim D depth\ndim C channels\ndim X width\ninput x[D, X]\n"
        "state h[C, X], c[C, X]\nc' = tanh(c + h)\n"
        "param U_h, V_h convolution(3)\nparam W_h convolution(5)\n"
        "h' = tanh(W·x + U·h + V·c)\noutput h'\n"
    )
    assert counted(cell) == (1, 1)
    preserved(cell)


def test_filters_of_other_sizes_stay_apart() -> None:
    cell = cellc.parse(
        "cell convolving\ndim D depth\ndim C channels\ndim X width\ninput x[D, X]\nstate h[C, X]\n"
        "param W_h, U_h convolution(3)\nparam V_h convolution(5)\n"
        "h' = tanh(W·x + U·h + V·h)\noutput h'\n"
    )
    assert counted(cell) == (1, 2)
    preserved(cell)


def test_blocks_are_not_joined() -> None:
    cell = small("param W_h, U_h block_diagonal(2)\nh' = tanh(W·h + U·c) + 0*sum(x)")
    assert counted(cell)[1] == 2


def test_weights_of_more_dimensions_stack() -> None:
    cell = cellc.load("memory_block")
    stacked = FuseMatmul().run(cell)
    shapes = [str(n.type.shape[0]) for n in stacked.nodes.values() if n.op.name == "concat"]
    assert shapes.count("3*N") == 2  # for x and for h
    preserved(cell)


@pytest.mark.parametrize(
    ("body", "products"),
    [
        ("h' = tanh(W·h + W·c)", 1),
        ("h' = tanh(W·h - W·c)", 1),
        ("h' = tanh(W·h - (W·c - W·tanh(h)))", 1),
        ("h' = tanh(W·h + c + W·c)", 1),
        ("h' = tanh(W·h + W·(0.5*c))", 1),
        ("h' = tanh(W·h + (h - W·h))", 1),
        ("h' = tanh(V·h + W·h)", 1),
        ("h' = tanh(W·h)*W·c", 2),
        ("f = V·c + U·h\nh' = f*tanh(W·h + W·c)", 3),  # h and c are multiplied anyhow
        ("u = W·h\nh' = tanh(u + W·c)*u", 2),
    ],
)
def test_what_products_of_a_sum_share_is_factored(body: str, products: int) -> None:
    cell = small(f"param W[H, H] shared\n{body} + 0*sum(x)")
    after = FactorProducts().run(cell)
    verify(after)
    if "f =" in body:
        products = 4
    assert sum(n.op.name == "matmul" for n in after.nodes.values()) == products
    assert FactorProducts().run(after) == after
    preserved(cell)


def test_what_is_known_before_the_loop_is_not_factored_into_it() -> None:
    cell = cellc.parse(
        "cell one\ninput x[H]\nstate h[H]\nparam W[H, H] shared\nh' = tanh(W·h + W·x)\noutput h'\n"
    )
    assert FactorProducts().run(cell) == cell
    assert counted(cell) == (1, 1)


def test_a_chain_of_weights(golden: Callable[[Path, str], None]) -> None:
    before = cellc.parse(
        "cell chain\ninput x[I]\nstate h[H]\nv[H] = P·[h, x]\nh' = tanh(W·v)\noutput h'\n"
    )
    after = AssociateProducts().run(before)
    verify(after)
    golden(GOLDEN / "associate_products.txt",
           f"# before\n{print_cell(before)}\n# after\n{print_cell(after)}")  # fmt: skip
    assert AssociateProducts().run(after) == after


def test_a_chain_in_the_loop_is_one_product_a_step() -> None:
    cell = small("v[H] = P·h\nw[H] = Q·v\nh' = tanh(W·w + 0*sum(x))")
    preserved(cell)
    schedule = cellc.schedule(cell)
    inside = [schedule.cell.nodes[n].op.name for n in schedule.values_in_loops()]
    assert sum(name.startswith("matmul") for name in inside) == 1


@pytest.mark.parametrize(
    "body",
    [
        "v[R] = P·h\nh' = tanh(W·v)",  # of low rank, perhaps
        "v[4] = P·h\nh' = tanh(W·v)",  # of low rank, certainly
        "v[H] = P·h\nh' = tanh(W·v)*v",
        "v[H] = P·h\nh' = tanh(W·tanh(v))",
        "v[H] = P·h\nh' = tanh(W·v + b)*sigmoid(W_o·v)*tanh(W_i·v)*tanh(W_j·v)*tanh(W_k·v)"
        "*tanh(W_l·v)*tanh(W_m·v)*tanh(W_n·v)*tanh(W_p·v)",  # does not repay the call's work
    ],
)
def test_chains_that_stay_as_they_are_written(body: str) -> None:
    dims = "dim R rank\n" if "[R]" in body else ""
    cell = cellc.parse(f"cell chain\n{dims}input x[I]\nstate h[H]\n{body} + 0*sum(x)\noutput h'\n")
    assert AssociateProducts().run(cell) == cell


@pytest.fixture
def transposed() -> Iterator[Op]:
    """The product with a transposed weight, where the table has none."""
    known = TABLE.get("matmul_transposed")
    made = Op("matmul_transposed", "The product with a transposed weight.", "contraction",
              ("w", "g"), rule=_transposed_type, spelling=_transposed_spelling)  # fmt: skip
    yield known or ops.register(made)
    if known is None:
        ops.unregister("matmul_transposed")


def _transposed_type(args, attrs):  # type: ignore[no-untyped-def]
    weight, vector = args
    rank = len(vector.shape)
    if weight.shape[:rank] != vector.shape:
        raise cellc.ir.TypeMismatch("the shapes do not fit", (0, 1))
    return type(weight)(weight.shape[rank:], weight.extent | vector.extent)


def _transposed_spelling(node: Node, types: object) -> str:
    return "g @ w"


def turned(cell: Cell) -> Cell:
    """The cell with every square product by a weight replaced by one with its transpose."""
    edit = Edit(cell)
    for name in cell.nodes:
        edit.keep(name)
        if cell.nodes[name].op.name == "matmul":
            added = edit.add("matmul_transposed", cell.nodes[name].args)
            edit.nodes[name] = edit.nodes.pop(added)
    return cell.replace(in_order(edit.nodes))


@pytest.mark.parametrize(
    ("body", "inside"),
    [
        ("h' = tanh(W·h + U·c)", 1),
        ("f = sigmoid(W·h)\nh' = f*tanh(W·h)", 1),
        ("f = sigmoid(W·h + U·c)\nh' = f*tanh(W·h + U·c)", 1),
        ("f = sigmoid(W·h)\nh' = f*tanh(W·h + U·c)", 2),
    ],
)
def test_products_with_transposed_weights(transposed: Op, body: str, inside: int) -> None:
    cell = turned(small(f"{body} + 0*sum(x)"))
    verify(cell)
    after = optimise(cell, "O2")
    verify(after)
    names = set(cellc.schedule(cell).values_in_loops())
    products = [n for n in names if after.nodes[n].op.name.startswith("matmul_transposed")]
    assert len(products) == inside
    trial = Trial(cell, 3)
    assert difference(trial.numpy("O2"), trial.numpy("O0")) < 1e-12
