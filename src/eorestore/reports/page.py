"""A self-contained HTML page that compares pictures under a swipe; knows no raster, model or network address."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray

from eorestore import __version__
from eorestore.errors import DataError, GridError
from eorestore.reports.drawing import Drawing
from eorestore.reports.histogram import Histogram, to_svg
from eorestore.reports.png import encode_png
from eorestore.reports.table import Table, format_cell
from eorestore.reports.writing import write_complete


@dataclass(frozen=True)
class Layer:
    """One picture of the page.

    name: short, unlike the others. pixels: uint8 (y, x, channel). caption: one line on what is seen.
    key: (colour as "#rrggbb", meaning) pairs of a map.
    """

    name: str
    pixels: NDArray[np.uint8]
    caption: str
    key: tuple[tuple[str, str], ...] = ()

    @property
    def slug(self) -> str:
        """The name as the page's address spells it."""
        return _slug(self.name)


@dataclass(frozen=True)
class Section:
    """A part of a report: a table, a figure, or both, under a heading. note: what stands below, such as its source."""

    heading: str
    table: Table | None = None
    figure: Drawing | None = None
    note: str = ""

    @property
    def slug(self) -> str:
        """The heading as a file name."""
        return _slug(self.heading)


def write_page(
    path: Path | str,
    *,
    title: str,
    summary: str,
    layers: Sequence[Layer],
    metrics: Table | None = None,
    facts: Mapping[str, str] | None = None,
    histograms: Sequence[Histogram] = (),
    compare: tuple[str, str] | None = None,
    note: str = "",
) -> None:
    """Write the page; everything it shows is inside the file.

    The fragment of its address sets what is seen: `#left=input&right=restored&split=20&zoom=2&theme=dark`.

    Args:
        path: the HTML file; it appears when complete.
        title: one line.
        summary: one sentence under it.
        layers: two or more pictures of one aspect; sizes may differ.
        metrics: scores, the first column naming the row.
        facts: name -> value, in the order shown.
        histograms: of the same series each.
        compare: names of the layers shown first, left and right; without it the first two.
        note: one line under the scores.

    Raises:
        DataError: fewer than two layers, or two of one name.
        GridError: pictures of different aspect.
        WriteError: the file cannot be written.
    """
    _check(layers)
    left, right = compare or (layers[0].name, layers[1].name)
    slugs = {layer.name: layer.slug for layer in layers}
    height, width = layers[0].pixels.shape[:2]
    sections = [
        _section("Scores", _table(metrics) + (f'<p class="note">{html.escape(note)}</p>' if note else ""))
        if metrics
        else "",
        _section("Distribution of values", _charts(histograms)) if histograms else "",
        _section("Facts", _facts(facts)) if facts else "",
    ]
    page = Template(_part("page.html")).substitute(
        title=html.escape(title),
        summary=html.escape(summary),
        version=__version__,
        style=_part("page.css"),
        script=_part("page.js"),
        aspect=f"{width / height:.5f}",
        left=slugs[left],
        right=slugs[right],
        panes="\n".join(map(_pane, layers)),
        choices="\n".join(map(_choice, layers)),
        sections="\n".join(filter(None, sections)),
    )
    write_complete(Path(path), page)


def write_sections(path: Path | str, *, title: str, summary: str, sections: Sequence[Section]) -> None:
    """Write a report as a page without pictures to compare; everything it shows is inside the file.

    Raises WriteError.
    """
    page = Template(_part("report.html")).substitute(
        title=html.escape(title),
        summary=html.escape(summary),
        version=__version__,
        style=_part("page.css"),
        sections="\n".join(_section(html.escape(section.heading), _content(section)) for section in sections),
    )
    write_complete(Path(path), page)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _content(section: Section) -> str:
    content = _table(section.table) if section.table is not None else ""
    if section.figure is not None:
        content += f'<img class="plot" alt="{html.escape(section.heading)}" src="{_data_uri(section.figure.png)}">'
    return content + (f'<p class="note">{html.escape(section.note)}</p>' if section.note else "")


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _check(layers: Sequence[Layer]) -> None:
    slugs = [layer.slug for layer in layers]
    if len(slugs) < 2 or len(set(slugs)) < len(slugs) or "" in slugs:
        raise DataError(
            f"a comparison needs two or more layers of different names, not: {', '.join(slugs) or 'none'}",
            fix="give every layer its own name",
        )
    aspects = [layer.pixels.shape[1] / layer.pixels.shape[0] for layer in layers]
    for layer, aspect in zip(layers, aspects, strict=True):
        if abs(aspect / aspects[0] - 1.0) > 0.02:
            raise GridError(
                f"{layer.name} is {_size(layer)} pixels, {layers[0].name} {_size(layers[0])}: not the same ground",
                fix="give rasters that cover the same ground",
            )


def _size(layer: Layer) -> str:
    return f"{layer.pixels.shape[0]} x {layer.pixels.shape[1]}"


def _part(name: str) -> str:
    return resources.files("eorestore.reports").joinpath(name).read_text(encoding="utf-8")


def _pane(layer: Layer) -> str:
    name = html.escape(layer.name)
    return (
        f'      <div class="pane" data-layer="{layer.slug}" data-name="{name}">'
        f'<img alt="{name}: {html.escape(layer.caption)}" src="{_data_uri(encode_png(layer.pixels))}"></div>'
    )


def _choice(layer: Layer) -> str:
    name, slug = html.escape(layer.name), layer.slug
    sides = "".join(
        f'<label class="side"><input type="radio" name="{side}" value="{slug}"><span>{name} {side}</span></label>'
        for side in ("left", "right")
    )
    meanings = "".join(
        f'<span><i style="background:{html.escape(colour)}"></i>{html.escape(meaning)}</span>'
        for colour, meaning in layer.key
    )
    key = f'<div class="key">{meanings}</div>' if meanings else ""
    return (
        f'      <li><button class="choice" type="button" data-layer="{slug}"><canvas width="112" height="112"></canvas>'
        f"<span><b>{name}</b><small>{html.escape(layer.caption)}</small></span></button>{sides}"
        f"{key}</li>"
    )


def _section(heading: str, content: str) -> str:
    return f'<section class="card"><h2>{heading}</h2>{content}</section>'


def _table(table: Table) -> str:
    words = ["" if flag else ' class="words"' for flag in table.to_the_right]
    head = "".join(
        f'<th{style} scope="col">{html.escape(name)}</th>' for style, name in zip(words, table.columns, strict=True)
    )
    body = ""
    for row in table.rows:
        first, *others = [html.escape(format_cell(cell)) for cell in row]
        cells = "".join(f"<td{style}>{text}</td>" for style, text in zip(words[1:], others, strict=True))
        body += f'<tr><th class="words" scope="row">{first}</th>{cells}</tr>'
    content = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="group" aria-label="Table">{content}</div>'


def _charts(histograms: Sequence[Histogram]) -> str:
    legend = "".join(
        f'<span><svg viewBox="0 0 18 12" aria-hidden="true"><path class="series series-{number}" d="M1,11V2H17V11Z"/>'
        f"</svg>{html.escape(name)}</span>"
        for number, name in enumerate(histograms[0].shares)
    )
    charts = "".join(
        f"<figure><figcaption><b>{html.escape(histogram.title)}</b><span>{html.escape(histogram.unit)}</span>"
        f"</figcaption>{to_svg(histogram)}</figure>"
        for histogram in histograms
    )
    note = '<p class="note">Share of valid pixels per bin; heights are square roots, so that rare values show.</p>'
    return f'<div class="legend">{legend}</div><div class="charts">{charts}</div>{note}'


def _facts(facts: Mapping[str, str]) -> str:
    entries = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>" for name, value in facts.items()
    )
    return f'<dl class="facts">{entries}</dl>'
