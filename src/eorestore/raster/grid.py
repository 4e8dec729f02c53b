"""Where pixels lie: CRS, affine transform and size, with algebra; knows no file and imports no GIS library."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from eorestore.errors import GridError

Transform = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle of whole pixels: first row, first column, height, width."""

    row: int
    column: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Rows as a slice."""
        return slice(self.row, self.row + self.height)

    @property
    def columns(self) -> slice:
        """Columns as a slice."""
        return slice(self.column, self.column + self.width)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def grow(self, margin: int, *, within: tuple[int, int]) -> Window:
        """The window with `margin` pixels more on every side, cut at a scene of size `within`."""
        top, left = max(self.row - margin, 0), max(self.column - margin, 0)
        bottom = min(self.row + self.height + margin, within[0])
        right = min(self.column + self.width + margin, within[1])
        return Window(top, left, bottom - top, right - left)

    def relative_to(self, other: Window) -> Window:
        """The same pixels counted from the corner of `other`."""
        return Window(self.row - other.row, self.column - other.column, self.height, self.width)


@dataclass(frozen=True)
class Grid:
    """CRS as WKT, affine transform (a, b, c, d, e, f) and size in pixels; immutable.

    x = a * column + b * row + c and y = d * column + e * row + f, at the upper left corner of a pixel.
    """

    crs: str
    transform: Transform
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def pixel_size(self) -> tuple[float, float]:
        """(height, width) of a pixel in units of the CRS, positive."""
        a, b, _, d, e, _ = self.transform
        return math.hypot(b, e), math.hypot(a, d)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in units of the CRS."""
        corners = [self.position(row, column) for row in (0, self.height) for column in (0, self.width)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def position(self, row: float, column: float) -> tuple[float, float]:
        """(x, y) of a place given in fractional pixels."""
        a, b, c, d, e, f = self.transform
        return a * column + b * row + c, d * column + e * row + f

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """(row, column) in fractional pixels of a place (x, y); the inverse of `position`."""
        a, b, c, d, e, f = self.transform
        determinant = a * e - b * d
        if determinant == 0:
            raise GridError("the transform has no extent", fix="georeference the file again")
        column = (e * (x - c) - b * (y - f)) / determinant
        row = (a * (y - f) - d * (x - c)) / determinant
        return row, column

    def crop(self, window: Window) -> Grid:
        """The grid of a window of this one."""
        x, y = self.position(window.row, window.column)
        a, b, _, d, e, _ = self.transform
        return replace(self, transform=(a, b, x, d, e, y), height=window.height, width=window.width)

    def pad(self, top: int, bottom: int, left: int, right: int) -> Grid:
        """The grid with rows and columns added on each side."""
        size = Window(-top, -left, self.height + top + bottom, self.width + left + right)
        return self.crop(size)

    def scale(self, factor: float) -> Grid:
        """`factor` times as many pixels an axis over the same ground. Raises GridError on a broken size."""
        height, width = self.height * factor, self.width * factor
        if not (math.isclose(height, round(height)) and math.isclose(width, round(width))):
            raise GridError(
                f"{self.height} x {self.width} pixels cannot be scaled by {factor:g}",
                fix="crop to a size that divides",
            )
        return self.resize(round(height), round(width))

    def resize(self, height: int, width: int) -> Grid:
        """Another number of pixels over the same ground."""
        a, b, c, d, e, f = self.transform
        across, down = self.width / width, self.height / height
        return Grid(self.crs, (a * across, b * down, c, d * across, e * down, f), height, width)

    def window(self, bounds: tuple[float, float, float, float]) -> Window:
        """Whole pixels that touch (left, bottom, right, top), cut at the grid. Raises GridError outside."""
        left, bottom, right, top = bounds
        places = [self.pixel(x, y) for x in (left, right) for y in (bottom, top)]
        rows, columns = zip(*places, strict=True)
        tolerance = 1e-6
        first = max(math.floor(min(rows) + tolerance), 0), max(math.floor(min(columns) + tolerance), 0)
        last = (
            min(math.ceil(max(rows) - tolerance), self.height),
            min(math.ceil(max(columns) - tolerance), self.width),
        )
        if last[0] <= first[0] or last[1] <= first[1]:
            raise GridError(
                f"the box {left:g} {bottom:g} {right:g} {top:g} does not touch the scene {_spell(self.bounds)}",
                fix="give left bottom right top in the CRS of the scene",
            )
        return Window(first[0], first[1], last[0] - first[0], last[1] - first[1])

    def same_as(self, other: Grid, *, tolerance: float = 1e-3) -> bool:
        """Whether both grids have one CRS and size, and corners within `tolerance` pixels."""
        if self.size != other.size or self.crs != other.crs:
            return False
        limit = tolerance * max(self.pixel_size)
        return all(
            math.dist(self.position(row, column), other.position(row, column)) <= limit
            for row in (0, self.height)
            for column in (0, self.width)
        )


def _spell(bounds: tuple[float, float, float, float]) -> str:
    return " ".join(f"{value:g}" for value in bounds)
