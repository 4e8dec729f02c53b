"""Progress of long work: one bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time


class Progress:
    """Called with (done, total); shows rate and time left. `unit` is what is shown, `per` how many make one."""

    def __init__(self, unit: str, *, quiet: bool = False, every: float = 10.0, per: int = 1) -> None:
        self._unit, self._quiet, self._every, self._per = unit, quiet, every, per
        self._started = self._said = time.monotonic()
        self._first: int | None = None
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Show the state, at once on a terminal, every few seconds elsewhere."""
        now = time.monotonic()
        if self._first is None:
            self._first = done
            self._started = now
        if self._quiet or (not self._terminal and now - self._said < self._every and done < total):
            return
        self._said = now
        rate = (done - self._first) / max(now - self._started, 1e-6)
        left = f"{(total - done) / rate:.0f} s left" if rate > 0 else "..."
        counts = f"{done}/{total}" if self._per == 1 else f"{done / self._per:.1f}/{total / self._per:.1f}"
        line = f"{counts} {self._unit}, {rate / self._per:.2f} {self._unit}/s, {left}"
        if self._terminal:
            end = "\n" if done >= total else ""
            bar = "#" * (30 * done // max(total, 1))
            sys.stderr.write(f"\r[{bar:<30}] {line}   {end}")
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()
