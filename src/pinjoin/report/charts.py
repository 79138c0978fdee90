"""Bar charts as inline SVG: no script, colours from the page's style, text a reader can select."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from pinjoin.stats import Bar

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 66, 8, 36, 46


def plain(value: float) -> str:
    """A count for an axis: 1, 10, 1k, 10M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def whole(value: float) -> str:
    """A count above a bar: every digit while it is short."""
    return f"{value:,.0f}" if value < 10_000 else plain(float(f"{value:.2g}"))


def bar_chart(
    rows: Sequence[Bar],
    *,
    name: str,
    x_title: str,
    y_title: str,
    height_of: Callable[[Bar], float],
    tick: Callable[[float], str],
    value: Callable[[Bar], str],
    tell: Callable[[Bar], str],
    log_x: bool = False,
) -> Markup:
    """Bars on a logarithmic height axis.

    `height_of` gives a bar's height (0 draws none), `tick` the words of a height on the axis,
    `value` those above a bar (where there is room), `tell` the sentence shown on hover. `log_x`
    places bars by their values on a logarithmic axis; otherwise they stand side by side.
    """
    heights = [height_of(row) for row in rows]  # (bars,)
    positive = [height for height in heights if height > 0]
    if not positive:
        return Markup('<p class="empty">Nothing to draw.</p>')
    # Less than half a decade of room, so that the smallest bar is still seen.
    floor = math.log10(min(positive)) - 0.4
    top = max(math.log10(max(positive)), floor + 1)

    def y_of(height: float) -> float:
        share = (math.log10(height) - floor) / (top - floor)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

    parts = [_grid(floor, top, y_of, tick)]
    for row, height, (left, right) in zip(rows, heights, _places(rows, log_x), strict=True):
        if height <= 0:
            continue
        y, said = y_of(height), value(row)
        # Half a pixel less at each side is the gap; never thinner than one pixel.
        x, width = left + 1, max(1.0, right - left - 2)
        parts.append(
            f'<g class="bar"><title>{escape(tell(row))}</title>'
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{HEIGHT - BOTTOM - y:.1f}" rx="2"/>'
        )
        if said and len(said) * 6.4 <= right - left + 3:
            middle = (left + right) / 2
            parts.append(f'<text class="value" x="{middle:.1f}" y="{y - 5:.1f}">{said}</text>')
        parts.append("</g>")
    parts.append(_x_labels(rows, log_x))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="axis" x="{middle}" y="{HEIGHT - 6}">{escape(x_title)}</text>'
        f'<text class="axis start" x="4" y="12">{escape(y_title)}</text>'
    )
    # Every word that enters was escaped above or is a number.
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(name)}">{"".join(parts)}</svg>'
    )


def _grid(
    floor: float, top: float, y_of: Callable[[float], float], tick: Callable[[float], str]
) -> str:
    lines = []
    decades = range(math.ceil(floor), math.floor(top + 1e-9) + 1)
    every = 1 + len(decades) // 8
    for decade in decades[::every]:
        y = y_of(10.0**decade)
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick end" x="{LEFT - 7}" y="{y + 4:.1f}">{tick(10.0**decade)}</text>'
        )
    return "".join(lines)


def _places(rows: Sequence[Bar], log_x: bool) -> list[tuple[float, float]]:
    """Left and right edge of each bar."""
    span = WIDTH - RIGHT - LEFT
    if not log_x:
        # A single bar across the whole chart would look like a mistake.
        step = min(span / len(rows), 64)
        return [(LEFT + step * i, LEFT + step * (i + 1)) for i in range(len(rows))]
    first, last = _edge(rows[0].low), _edge(rows[-1].high + 1)
    return [
        tuple(  # type: ignore[misc]
            LEFT + span * (math.log(_edge(value) / first)) / math.log(last / first)
            for value in (row.low, row.high + 1)
        )
        for row in rows
    ]


def _edge(value: int) -> float:
    return max(value, 1) - 0.5


def _x_labels(rows: Sequence[Bar], log_x: bool) -> str:
    """As many labels as fit without touching, the first bar always."""
    out, free_from = [], 0.0
    for row, (left, right) in zip(rows, _places(rows, log_x), strict=True):
        middle, half = (left + right) / 2, len(row.label) * 3.1
        if middle - half < free_from or middle + half > WIDTH:
            continue
        out.append(
            f'<text class="tick" x="{middle:.1f}" y="{HEIGHT - BOTTOM + 16}">{row.label}</text>'
        )
        free_from = middle + half + 7
    return "".join(out)
