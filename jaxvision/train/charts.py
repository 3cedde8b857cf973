"""Curves as inline SVG, coloured by the page's style sheet, so that dark mode works."""

import html
import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 8, 34
# At least so many ticks an axis, where decades do not decide; at most 2.5 times it.
MIN_TICKS = 3
# More points than pixels only make the file large: they are averaged in buckets, and
# a band shows from where to where each bucket reaches.
MAX_POINTS = 240
# A positive quantity that falls by this factor or more is read on a log scale.
LOG_RATIO = 100.0

Points = Sequence[tuple[float, float]]


def line_chart(series: Mapping[str, Points], x_label: str, description: str) -> str:
  """Returns an SVG of one line per series.

  Args:
    series: {name: (x, y) points, x ascending}; points that are not finite are left
      out. The line of series k has the classes `line` and `series-k`.
    x_label: stands under the x axis.
    description: what a screen reader says.
  """
  finite = {
    name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    for name, points in series.items()
  }
  xs = [x for points in finite.values() for x, _ in points]
  ys = [y for points in finite.values() for _, y in points]
  parts = [
    f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
    f'aria-label="{html.escape(description)}">'
  ]
  if not ys:
    parts.append(
      f'<text class="tick" x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">'
      "no finite value</text></svg>"
    )
    return "".join(parts)

  logarithmic = min(ys) > 0.0 and max(ys) / min(ys) >= LOG_RATIO
  x_axis = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, False)
  y_axis = _Axis(min(ys), max(ys), HEIGHT - BOTTOM - 6, TOP, logarithmic)
  parts += [
    f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
    f'<text class="tick" x="{LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">'
    f"{label}</text>"
    for at, label in y_axis.ticks()
  ]
  parts += [
    f'<text class="tick" x="{at:.1f}" y="{HEIGHT - BOTTOM + 14}" '
    f'text-anchor="middle">{label}</text>'
    for at, label in x_axis.ticks()
  ]
  parts.append(
    f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" '
    f'y2="{HEIGHT - BOTTOM}"/>'
    f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" '
    f'text-anchor="middle">{html.escape(x_label)}</text>'
  )
  for index, points in enumerate(finite.values()):
    parts += _line(points, x_axis, y_axis, index)
  return "".join(parts) + "</svg>"


def _line(points: Points, x_axis: "_Axis", y_axis: "_Axis", index: int) -> list[str]:
  """Returns the band, if any, and the line of one series."""
  if len(points) == 1:
    (x, y) = points[0]
    return [
      f'<circle class="dot series-{index}" cx="{x_axis(x):.1f}" cy="{y_axis(y):.1f}" '
      'r="3"/>'
    ]
  size = math.ceil(len(points) / MAX_POINTS)
  buckets = [points[i : i + size] for i in range(0, len(points), size)]
  mean = [
    (sum(x for x, _ in bucket) / len(bucket), sum(y for _, y in bucket) / len(bucket))
    for bucket in buckets
  ]
  parts = []
  if size > 1:
    upper = [(x, max(y for _, y in b)) for (x, _), b in zip(mean, buckets, strict=True)]
    lower = [(x, min(y for _, y in b)) for (x, _), b in zip(mean, buckets, strict=True)]
    outline = _path([*upper, *reversed(lower)], x_axis, y_axis)
    parts.append(f'<path class="band series-{index}" d="{outline}Z"/>')
  parts.append(f'<path class="line series-{index}" d="{_path(mean, x_axis, y_axis)}"/>')
  return parts


def _path(points: Points, x_axis: "_Axis", y_axis: "_Axis") -> str:
  return "M" + "L".join(f"{x_axis(x):.1f} {y_axis(y):.1f}" for x, y in points)


class _Axis:
  """Maps values to pixels and chooses ticks at round numbers."""

  def __init__(
    self,
    low: float,
    high: float,
    begin: float,
    end: float,
    logarithmic: bool,
  ):
    self._logarithmic = logarithmic
    low, high = self._scaled(low), self._scaled(high)
    if low == high:
      # A constant curve runs through the middle.
      low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    self._low, self._high, self._begin, self._end = low, high, begin, end

  def _scaled(self, value: float) -> float:
    return math.log10(value) if self._logarithmic else value

  def __call__(self, value: float) -> float:
    fraction = (self._scaled(value) - self._low) / (self._high - self._low)
    return self._begin + fraction * (self._end - self._begin)

  def ticks(self) -> list[tuple[float, str]]:
    """Returns (pixel, label) of each tick."""
    step = _round_step((self._high - self._low) / MIN_TICKS)
    if self._logarithmic:
      step = max(1.0, step)
    first = math.ceil(self._low / step - 1e-9)
    last = math.floor(self._high / step + 1e-9)
    values = [multiple * step for multiple in range(first, last + 1)]
    # Of a small range beside its values, so many digits that neighbours differ.
    digits = 2 + math.floor(math.log10(max(map(abs, (*values, step))) / step))
    if self._logarithmic:
      values, digits = [10.0**exponent for exponent in values], 4
    return [(self(value), short_number(value, max(digits, 4))) for value in values]


def _round_step(step: float) -> float:
  """Returns the largest of 1, 2, 5 times a power of ten that is at most `step`."""
  power = 10.0 ** math.floor(math.log10(step))
  return max(k * power for k in (1, 2, 5) if k * power <= step * (1 + 1e-9))


def short_number(value: float, digits: int = 4) -> str:
  """Returns a tick's label: 0, 0.25, 20k, 1.5M, 1e-05."""
  for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
    if size <= abs(value) < 1000 * size:
      return f"{value / size:.{digits}g}{suffix}"
  return f"{value:.{digits}g}"
