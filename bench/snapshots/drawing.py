"""Bar charts as SVG text: readable on light and dark pages, no fonts or scripts of elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Final

_WIDTH: Final = 760
_LABELS: Final = 190
_VALUES: Final = 130
_ROW: Final = 24
_HEAD: Final = 34
_NOTE_LINE: Final = 115
_STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.head { font-weight: 600; font-size: 14px }
.small { font-size: 11px; fill: #57606a }
.bar { fill: #8c959f }
.ours { fill: #0a7d55 }
.floor { fill: #bf8700 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .small { fill: #8d96a0 }
  .bar { fill: #6e7681 }
  .ours { fill: #3fb98a }
  .floor { fill: #d4a72c }
}
"""


@dataclass(frozen=True)
class Bar:
    """One value, and what stands beside it."""

    label: str
    value: float
    text: str
    kind: str = "bar"
    """`ours`, `floor`, or `bar` for all others."""


def chart(title: str, groups: Mapping[str, Sequence[Bar]], note: str) -> str:
    """A chart of groups of bars; each group has a scale of its own."""
    rows: list[str] = []
    y = 28
    rows.append(f'<text class="head" x="0" y="18">{escape(title)}</text>')
    for name, bars in groups.items():
        y += _HEAD
        rows.append(f'<text class="head" x="0" y="{y - 10}">{escape(name)}</text>')
        most = max(bar.value for bar in bars) or 1
        for bar in bars:
            length = max(1.0, (_WIDTH - _LABELS - _VALUES) * bar.value / most)
            rows.append(
                f'<text x="{_LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(bar.label)}</text>'
            )
            rows.append(
                f'<rect class="{bar.kind}" x="{_LABELS}" y="{y}" '
                f'width="{length:.1f}" height="16" rx="2"/>'
            )
            rows.append(
                f'<text x="{_LABELS + length + 6:.1f}" y="{y + 12}">{escape(bar.text)}</text>'
            )
            y += _ROW
    y += 4
    for line in wrap(note, _NOTE_LINE):
        y += 16
        rows.append(f'<text class="small" x="0" y="{y}">{escape(line)}</text>')
    body = "\n".join(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 12}" role="img" '
        f'aria-label="{escape(title)}">\n<style>{_STYLE}</style>\n{body}\n</svg>\n'
    )
