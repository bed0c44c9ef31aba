"""Gate diagrams as geometry: nothing overlaps, wires keep off boxes, rails are straight."""

from __future__ import annotations

from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from time import process_time

import pytest
from hypothesis import HealthCheck, given, seed, settings

import cellc
from cellc.resources import shipped_specs
from cellc.views.geometry import Geometry, Spot
from cellc.views.painter import Painter
from cellc.views.routing import PITCH
from cellc.views.strokes import curve
from tests.conftest import Golden
from tests.strategies import specs

#: What is drawn as loops, because it has too many gates.
LARGE = ("deep_bidirectional_lstm", "grid_lstm_3d", "seq2seq_lstm")
SPECS = [name for name in shipped_specs() if name not in LARGE]
#: What does not fill its box.
ROUND = ("circle", "ellipse", "mixer")
Box = tuple[float, float, float, float]


def laid_out(cell: cellc.Cell) -> Geometry:
    painter = Painter(cell)
    painter.paint()
    return Geometry(painter.picture)


@cache
def shipped(name: str) -> Geometry:
    return laid_out(cellc.load(name))


def boxes(geometry: Geometry) -> dict[str, Box]:
    """Left, right, lower and upper edge of everything."""
    found = {}
    for key, (width, height) in geometry.sizes.items():
        x, y = geometry.middle(key)
        found[key] = (x - width / 2, x + width / 2, y - height / 2, y + height / 2)
    return found


def lines(geometry: Geometry) -> dict[tuple[str, str], list[Spot]]:
    return {ends: geometry.line(*ends) for ends in geometry.ways}


def inside(a: Spot, b: Spot, box: Box) -> bool:
    """Whether a straight piece runs through a box."""
    low, high = (min(a[0], b[0]), min(a[1], b[1])), (max(a[0], b[0]), max(a[1], b[1]))
    return low[0] < box[1] - 0.5 and high[0] > box[0] + 0.5 and (
        low[1] < box[3] - 0.5 and high[1] > box[2] + 0.5
    )  # fmt: skip


def check(geometry: Geometry) -> None:
    places, ways = boxes(geometry), lines(geometry)
    roles = dict(geometry.picture.nodes(data="role"))
    assert ways.keys() == set(geometry.picture.edges)
    for a, b in combinations(places, 2):
        left, right, low, high = (
            f(p, q) for f, p, q in zip((max, min, max, min), places[a], places[b], strict=True)
        )
        assert right <= left or high <= low, f"{a} lies over {b}"
    for (source, target), spots in ways.items():
        for start, end in pairwise(spots):
            assert abs(start[0] - end[0]) < 0.01 or abs(start[1] - end[1]) < 0.01
            for key, box in places.items():
                if key in (source, target) and roles[key] in ROUND:
                    continue  # a wire may end at its arc, inside of its square
                assert not inside(start, end, box), f"{source} -> {target} runs through {key}"
        touches(spots[-1], places[target])
        starts_well(geometry, source, target)
    pieces = [(ends[0], piece) for ends, spots in ways.items() for piece in pairwise(spots)]
    for (one, first), (other, second) in combinations(pieces, 2):
        assert one == other or not together(first, second), f"{one} and {other} share a piece"
    for ends in geometry.rails:
        assert len({round(y, 2) for _, y in ways[ends]}) == 1


def touches(spot: Spot, box: Box) -> None:
    """A wire ends at the edge of its thing, of a round one somewhat inside of its square."""
    x, y = spot
    assert box[0] - 0.01 <= x <= box[1] + 0.01
    assert box[2] - 0.01 <= y <= box[3] + 0.01


def starts_well(geometry: Geometry, source: str, target: str) -> None:
    """A way runs over neighbouring tracks, from a port or another way of its source to a port."""
    way = geometry.ways[source, target]
    assert len(set(way)) == len(way)
    assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in pairwise(way))
    others = [w[1:-1] for ends, w in geometry.ways.items() if ends[0] == source and w is not way]
    assert is_port(geometry, source, way[0]) or any(way[0] in other for other in others)
    assert is_port(geometry, target, way[-1])
    assert not any(is_port(geometry, target, point) for point in way[:-1])


def is_port(geometry: Geometry, key: str, point: tuple[int, int]) -> bool:
    """Whether a track is at the edge of a thing; a dot has only its middle."""
    across, down = (
        abs(a - (place * PITCH + 1)) for a, place in zip(point, geometry.at[key], strict=True)
    )
    if geometry.picture.nodes[key]["role"] == "join":
        return across == down == 0
    return max(across, down) == 1


def together(a: tuple[Spot, Spot], b: tuple[Spot, Spot]) -> bool:
    """Whether two straight pieces lie on each other for some way."""
    for axis in (0, 1):
        still = [abs(piece[0][axis] - piece[1][axis]) < 0.01 for piece in (a, b)]
        if all(still) and abs(a[0][axis] - b[0][axis]) < 0.01:
            along = 1 - axis
            low = max(min(p[0][along], p[1][along]) for p in (a, b))
            high = min(max(p[0][along], p[1][along]) for p in (a, b))
            return high - low > 0.5
    return False


@pytest.mark.parametrize("name", SPECS)
def test_shipped_cells_are_laid_out_well(name: str) -> None:
    check(shipped(name))


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("deep_bidirectional_lstm", 3),
        ("seq2seq_lstm", 3),
        ("grid_lstm_3d", 4),
    ],
)
def test_so_are_the_gates_of_large_ones(name: str, seconds: float) -> None:
    start = process_time()
    geometry = shipped(name)
    assert process_time() - start < seconds
    check(geometry)


def woven(blocks: int) -> str:
    """A cell of gates, each of which mixes two values of before."""
    lines = ["cell woven", "input x[I]", "state h[H], c[H]", "v0 = c", "v1 = h"]
    for k in range(2, blocks + 2):
        lines.append(f"g{k} = sigmoid(W·[v{k // 2}, x] + b)")
        lines.append(f"v{k} = tanh(g{k}*v{k - 1} - {0.5 + k / 1000}*v{k - 2})")
    lines += [f"c' = v{blocks + 1}", "h' = tanh(c')", "output h'"]
    return "\n".join(lines) + "\n"


def test_two_hundred_things_are_laid_out_in_seconds() -> None:
    painter = Painter(cellc.parse(woven(36)))
    painter.paint()
    assert 200 <= len(painter.picture) <= 220
    start = process_time()
    geometry = Geometry(painter.picture)
    assert process_time() - start < 4  # under 2 where the machine has nothing else to do
    check(geometry)


def test_the_same_picture_is_laid_out_the_same_way() -> None:
    first, second = (laid_out(cellc.load("stacked_lstm")) for _ in range(2))
    assert list(first.ways.items()) == list(second.ways.items())
    assert first.tracks == second.tracks


def test_rails_that_meet_are_straight_up_to_there() -> None:
    text = (
        "cell meeting\ninput x[I]\nstate h[H]\n"
        "v[H] = 0.5*tanh(h + h) + 0.5*prev(v)\nh' = tanh(tanh(tanh(v)))\n"
        "y[H] = tanh(W·[x, h])\noutput y\n"
    )
    geometry = laid_out(cellc.parse(text))
    assert geometry.rails
    check(geometry)


@seed(1)
@settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(specs())
def test_random_cells_are_laid_out_well(text: str) -> None:
    check(laid_out(cellc.parse(text)))


@pytest.mark.parametrize("name", ["phased_lstm", "peephole_lstm", "fgr"])
def test_no_solid_wire_forks_from_a_broken_one(name: str) -> None:
    geometry = shipped(name)
    broken = {e for e in geometry.ways if geometry.picture.edges[e]["diagonal"]}
    assert broken
    forks = set(geometry.forks)
    for source, target in geometry.ways.keys() - broken:
        first = geometry.ways[source, target][0]
        if geometry.spot(first) in forks:
            solid = (e for e in geometry.ways if e[0] == source and e not in broken)
            assert any(first in geometry.ways[e][1:] for e in solid if e[1] != target)


def test_crossings_are_counted(golden: Golden) -> None:
    counts = {name: len(shipped(name).crossings) for name in SPECS}
    text = "".join(f"{name} {count}\n" for name, count in sorted(counts.items()))
    golden(Path(__file__).parent / "golden" / "crossings.txt", text)


@pytest.mark.parametrize("name", ["lstm", "gru", "cifg", "rnn"])
def test_textbook_cells_look_like_the_textbook(name: str) -> None:
    geometry = shipped(name)
    roles = dict(geometry.picture.nodes(data="role"))
    gates = {round(geometry.middle(key)[1]) for key in roles if roles[key] == "learned"}
    assert len(gates) == 1
    tops = [geometry.middle(key)[1] for key in roles if roles[key] == "input"]
    assert max(tops) == min(geometry.middle(key)[1] for key in roles)
    for state in (key for key in roles if roles[key] == "state"):
        assert geometry.middle(state)[1] == geometry.middle(f"next {state}")[1]


def test_a_wire_hops_over_another_and_goes_round_its_corners() -> None:
    points = curve([(0, 0), (100, 0), (100, 50)], [(50, 0), (100, 20)])
    assert points[0] == (0, 0)
    assert points[-1] == (100, 50)
    assert len(points) % 3 == 1
    assert max(y for x, y in points if x < 60) > 4
    assert (100, 0) not in points
