"""The whole report as one HTML page that needs nothing besides itself and fits a telephone."""
from __future__ import annotations

import base64
import re
from html import escape

import cv2
import numpy as np

from basicsr_kd.report.cells import Table
from basicsr_kd.report.crops import caption
from basicsr_kd.report.figure import Comparison
from basicsr_kd.report.report import Report

_BREAK = re.compile('(?<=[_/-])')  # where a long name may go on in the next line
_PHOTO = 480  # pixels: the longer side of a whole photo
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --page: #fff; --text: #1a1a1a; }
@media (prefers-color-scheme: dark) { :root { --page: #16181b; --text: #e4e4e4; } }
body { margin: 0 auto; max-width: 90rem; padding: 0 1rem 3rem; background: var(--page); color: var(--text);
       font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; vertical-align: top; font-weight: normal; }
thead th { border-bottom: 2px solid var(--line); font-weight: bold; vertical-align: bottom; }
tbody { border-bottom: 1px solid var(--line); }
.text { text-align: left; }
tr > th:first-child { position: sticky; left: 0; background: var(--page); min-width: 8rem; max-width: 40vw;
                      white-space: normal; overflow-wrap: anywhere; }
@media (max-width: 40rem) { th, td { text-align: left; } }
img { display: block; max-width: 100%; height: auto; }
.plot { background: #fff; }
.crops { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(9rem, 45%), 1fr)); gap: .75rem; }
figure { margin: 0; }
.crops img { width: 100%; image-rendering: pixelated; }
figcaption { font-size: .8125rem; }
"""


def html_page(report: Report, plot: bytes | None, times: bytes | None = None) -> str:
    """The page.

    Args:
        plot: the PNG of quality against cost, if there is one.
        times: the PNG of quality against time in the runtime, if there is one.
    """
    parts = ['<h1>Report</h1>', f'<p>{escape(report.subject())}</p>']
    for table in report.tables:
        parts += [f'<h2>{escape(table.title)}</h2>', _table(table)]
    if plot:
        parts += ['<h2>Quality against cost</h2>',
                  f'<img class="plot" alt="Quality against parameters and seconds" src="{_data("png", plot)}">']
    if times:
        parts += ['<h2>Quality against time in the runtime</h2>',
                  f'<img class="plot" alt="Quality against milliseconds" src="{_data("png", times)}">']
    if report.comparisons:
        parts += ['<h2>Comparison</h2>', f'<p>{escape(caption(report.runs))}.</p>',
                  *map(_comparison, report.comparisons)]
    notes = ''.join(f'<li>{escape(note)}</li>\n' for note in report.all_notes())
    parts += ['<h2>How to read this</h2>', f'<ul>\n{notes}</ul>']
    return ('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>Report: {escape(report.subject())}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n'
            + '\n'.join(parts) + '\n</body>\n</html>\n')


def _table(table: Table) -> str:
    def row(cells: list[str]) -> str:
        return f'<tr>{"".join(cells)}</tr>\n'
    columns = zip(*(cells for block in table.blocks for cells in block), strict=True)
    kinds = ['' if any(cell.figures for cell in column) else ' class="text"' for column in columns]
    header = row([f'<th scope="col"{kind}>{escape(title)}</th>'
                  for kind, title in zip(kinds, table.header, strict=True)])
    several = any(len(block) > 1 for block in table.blocks)
    bodies = []
    for block in table.blocks:
        rows = []
        for line, cells in enumerate(block):
            shown = []
            for index, cell in enumerate(cells):
                if index in table.once and line:
                    continue  # that of the first row spans all
                span = f' rowspan="{len(block)}"' if index in table.once and len(block) > 1 else ''
                tag, scope = ('td', '') if index else ('th', ' scope="row"')
                shown.append(f'<{tag}{scope}{kinds[index]}{span}>{escape(cell.text)}</{tag}>')
            rows.append(row(shown))
        bodies.append(''.join(rows))
    if several:
        content = ''.join(f'<tbody>\n{body}</tbody>\n' for body in bodies)
    else:
        content = f'<tbody>\n{"".join(bodies)}</tbody>\n'
    return f'<div class="scroll"><table>\n<thead>\n{header}</thead>\n{content}</table></div>'


def _comparison(comparison: Comparison) -> str:
    left, top, width, height = comparison.mark
    whole = np.ascontiguousarray(comparison.overview[:, :, ::-1])
    line = max(1, max(whole.shape) // 200)
    for thickness, colour in ((2 * line, (0, 0, 0)), (line, (0, 255, 255))):  # yellow is seen on white by its black
        cv2.rectangle(whole, (left, top), (left + width, top + height), colour, thickness)
    scale = min(1.0, _PHOTO / max(whole.shape[:2]))
    small = cv2.resize(whole, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    title = escape(comparison.name)
    crops = ''.join(
        f'<figure><img alt="{title}: {escape(label)}" '
        f'src="{_data("png", _encoded(".png", comparison.part(label)[:, :, ::-1]))}">'
        f'<figcaption>{_BREAK.sub("<wbr>", escape(label))}<br>{escape(comparison.notes.get(label, ""))}</figcaption>'
        '</figure>\n'
        for label in comparison.images)
    return (f'<h3>{title}</h3>\n<img alt="{title}, the part marked" src="{_data("jpeg", _encoded(".jpg", small))}">\n'
            f'<br>\n<div class="crops">\n{crops}</div>')


def _encoded(suffix: str, image: np.ndarray) -> bytes:
    return cv2.imencode(suffix, np.ascontiguousarray(image))[1].tobytes()


def _data(kind: str, content: bytes) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'
