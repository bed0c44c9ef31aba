"""Measure a cell at one size beside what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_cells import Pass, Run, inputs_of, module_of
from gpu_clock import Clock, products, scanned_bytes
from gpu_grids import WITHOUT_PRODUCT, Point
from gpu_peers import PEERS, algorithm, eager_pass, has_eager, torch_pass
from gpu_records import Row

MODES = ("forward", "training")
#: Seconds of a race between a module and its peer, and of the plain loop.
SECONDS, EAGER_SECONDS = 0.25, 0.1


@dataclass(frozen=True)
class Bench:
    """Measures points with a clock; ``bandwidth`` is that of a copy."""

    clock: Clock
    bandwidth: float

    def rows(self, point: Point) -> list[Row]:
        """Both modes of a point; one that fails has the reason."""
        own = Pass(module_of(point, self.clock.device), inputs_of(point, self.clock.device))
        peer = torch_pass(point, own)
        return [self._tried(point, mode, own, peer) for mode in MODES]

    def _tried(self, point: Point, mode: str, own: Pass, peer: Pass | None) -> Row:
        try:
            return self._row(point, mode, own, peer)
        except Exception as error:
            return Row(point, mode, error=reason(error))

    def _row(self, point: Point, mode: str, own: Pass, peer: Pass | None) -> Row:
        run = own.run(mode)
        first = self.clock.warmed(run)
        runs: dict[str, Run] = {"own": run}
        if peer is not None:
            peer.module.train(mode == "training")  # cuDNN does less where it is not
            runs["peer"] = peer.run(mode)
        runs["product"] = products(point, mode, self.clock.device)
        for name in runs:
            if name != "own":
                self.clock.warmed(runs[name])
        found = self.clock.race(runs, SECONDS)
        times = {name: value / point.steps * 1e6 for name, value in found.items()}
        return Row(
            point, mode, times["own"], times.get("peer"),
            PEERS[point.cell][1] if peer is not None else "",
            algorithm(point, mode) if peer is not None else "",
            self._eager(point, mode) if has_eager(point) else None,
            times["product"],
            self._share(point, mode, found["own"] - found["product"]), first,
        )  # fmt: skip

    def _eager(self, point: Point, mode: str) -> float:
        """Microseconds that a step of the plain loop takes."""
        short, eager = eager_pass(point, self.clock.device)
        run = eager.run(mode)
        self.clock.warmed(run)
        return self.clock.race({"eager": run}, EAGER_SECONDS)["eager"] / short.steps * 1e6

    def _share(self, point: Point, mode: str, seconds: float) -> float | None:
        """The part of the bandwidth that a scan reaches, without the product before it."""
        if point.cell not in WITHOUT_PRODUCT or seconds <= 0:
            return None
        return scanned_bytes(point, mode) / seconds / self.bandwidth


def reason(error: Exception) -> str:
    """An error in one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:300]}"
