"""From a cell to a picture of it, in each of the views that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from cellc import driver
from cellc.diagnostics import fail
from cellc.frontend.library import path_of
from cellc.frontend.lineage import lineage_of
from cellc.frontend.suggest import did_you_mean
from cellc.ir import Cell
from cellc.passes.pipelines import level_called
from cellc.passes.plan import plan
from cellc.views.diagram import over_steps, overview
from cellc.views.drawing import Drawing
from cellc.views.ops_view import ops_view, side_by_side
from cellc.views.overlay import overlay
from cellc.views.page import Page
from cellc.views.theme import THEMES


@dataclass(frozen=True)
class Wish:
    """What a picture is to show beside the cell itself; see :func:`draw`."""

    page: Page = field(default_factory=Page)
    base: Cell | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    expand: tuple[str, ...] = ()
    steps: int = 3
    level: str = "O2"


def draw(
    cell: Cell | str,
    view: str = "gates",
    *,
    base: Cell | str | None = None,
    renamed: Mapping[str, str] | None = None,
    theme: str = "light",
    captions: bool = False,
    legend: bool = False,
    expand: Iterable[str] = (),
    steps: int = 3,
    level: str = "O2",
) -> Drawing:
    """A picture of a cell, or of a shipped one by its name; it displays itself in a notebook.

    ``view`` is one of

    - ``gates``: the diagram that papers print, one step. Cells that the cell applies are closed
      blocks; ``expand`` opens those of a name, or ``all``. With a ``base``, what differs from
      that cell is tinted; ``renamed`` says what its values are called in this one. Where both
      are given by their names, their specs say it.
    - ``unrolled``: blocks over so many ``steps``, and what they carry between them; ``expand``
      as above.
    - ``ops``: all values as the compiler sees them at an optimisation ``level``, by when they
      are computed.
    - ``compare``: the ops of the cell as written and as optimised, side by side.
    - ``backward``: the ops of the derived cell, which computes the gradients.

    ``theme`` is light, dark or grey, ``captions`` writes the equations under the picture and
    ``legend`` beside it what colours and lines mean. What a view has no use for is refused.
    Raises CellcError.
    """
    opened = (expand,) if isinstance(expand, str) else tuple(expand)
    check_wish(view, theme, steps, against=base is not None, opened=bool(opened))
    if renamed is not None and base is None:
        fail("not-in-this-view", "`renamed` is about values of a base, and there is no `base`")
    if renamed is None and isinstance(cell, str) and isinstance(base, str):
        renamed = renamed_in(cell, base)
    page = Page(theme, captions, legend)
    other = None if base is None else _loaded(base)
    wish = Wish(page, other, renamed or {}, opened, steps, level_called(level))
    return VIEWS[view](_loaded(cell), wish)


def check_wish(view: str, theme: str, steps: int, *, against: bool, opened: bool) -> None:
    """Find what is wrong with a picture before there is a cell.

    ``against`` says whether there is a base, ``opened`` whether something is to be opened.
    Raises CellcError.
    """
    _check_name("view", view, VIEWS)
    _check_name("theme", theme, THEMES)
    if against and view != "gates":
        message = f"what differs is shown by the view `gates`, not by `{view}`"
        fail("not-in-this-view", message)
    if opened and view not in OPENING:
        fail("not-in-this-view", f"the view `{view}` shows all ops; there is nothing to open")
    if opened and against:
        fail("not-in-this-view", "what differs is shown with everything opened already")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        hints = ("a whole number above zero is asked for, such as 3",)
        fail("not-a-step-count", f"a cell cannot be drawn over {steps} steps", hints=hints)


def _check_name(what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        listed = f"known: {', '.join(f'`{each}`' for each in known)}"
        hints = (*did_you_mean(name, known), listed)
        fail(f"unknown-{what}", f"there is no {what} `{name}`", hints=hints)


def renamed_in(name: str, base: str) -> Mapping[str, str]:
    """What values of a base are called in a cell, where one of the two derives from the other.

    Both are given by a name or a file. Raises CellcError.
    """
    first, second = (lineage_of(path_of(each)) for each in (name, base))
    if first.bases[:1] == (path_of(base).stem,):
        return first.renamed
    derives = second.bases[:1] == (path_of(name).stem,)
    return {new: old for old, new in second.renamed.items()} if derives else {}


def _loaded(cell: Cell | str) -> Cell:
    return driver.load(cell) if isinstance(cell, str) else cell


def _gates(cell: Cell, wish: Wish) -> Drawing:
    if wish.base is not None:
        return overlay(cell, wish.base, wish.renamed, wish.page)
    return overview(cell, wish.page, wish.expand)


def _unrolled(cell: Cell, wish: Wish) -> Drawing:
    return over_steps(cell, wish.steps, wish.page, wish.expand)


def _ops(cell: Cell, wish: Wish) -> Drawing:
    written = driver.schedule(cell, "O0")
    return ops_view(replace(driver.schedule(cell, wish.level), written=written), wish.page)


def _compare(cell: Cell, wish: Wish) -> Drawing:
    before, after = driver.schedule(cell, "O0"), driver.schedule(cell, wish.level)
    return side_by_side(before, after, wish.page)


def _backward(cell: Cell, wish: Wish) -> Drawing:
    forward = plan(cell, wish.level, "balanced", starts=False)
    if forward.gradient is None:
        fail("no-derivative", f"an op of `{cell.name}` has no derivative")
    return ops_view(forward.gradient.schedule, wish.page, forward)


#: The views by name.
VIEWS: dict[str, Callable[[Cell, Wish], Drawing]] = {
    "gates": _gates,
    "unrolled": _unrolled,
    "ops": _ops,
    "compare": _compare,
    "backward": _backward,
}

#: The views in which applied cells are closed, and may be opened.
OPENING = ("gates", "unrolled")
