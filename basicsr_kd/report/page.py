"""The whole report as one HTML page: for desktop and phone, with or without JavaScript, opened from a folder."""
from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import cv2
import numpy as np

from basicsr_kd.report.cells import Table
from basicsr_kd.report.crops import caption
from basicsr_kd.report.figure import Comparison
from basicsr_kd.report.html_table import broken, html_table
from basicsr_kd.report.pareto import Spot
from basicsr_kd.report.report import Report

_PHOTO = 480  # pixels: the longer side of a whole photo


@dataclass(frozen=True)
class Plot:
    """A picture of a plot, and its points, which show their figures when pointed at."""

    title: str
    alt: str
    png: bytes
    spots: Sequence[Spot]


def html_page(report: Report, plots: Sequence[Plot] = (), gallery: Mapping[str, Any] | None = None) -> str:
    """The page: tables, plots, crops and notes on them; with JavaScript also the photos under a divider to drag.

    Args:
        gallery: The result of `write_gallery`; None: there are no photos.
    """
    first, *others = report.tables
    parts = ['<h1>Report</h1>', f'<p>{escape(report.subject())}</p>', _titled(first)]
    pictured = {label for photo in gallery['photos'] for label in photo['pictures']} if gallery else ()
    parts += [_plot(plot, pictured) for plot in plots]
    parts += [_viewer(gallery)] if gallery else []
    parts += map(_titled, others)
    if report.comparisons:
        parts += ['<h2>Comparison</h2>', f'<p>{escape(caption(report.runs))}.</p>',
                  *map(_comparison, report.comparisons)]
    notes = ''.join(f'<li>{escape(note)}</li>\n' for note in report.all_notes())
    parts += ['<h2>How to read this</h2>', f'<ul>\n{notes}</ul>', _script('sort.js')]
    if gallery:
        # `<` is escaped, as JSON allows, so that no text can end the element
        content = json.dumps(gallery).replace('<', '\\u003c')
        parts += [f'<script type="application/json" id="data">{content}</script>', _script('viewer.js')]
    return ('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>Report: {escape(report.subject())}</title>\n'
            f'<style>\n{_asset("page.css")}</style>\n</head>\n<body>\n' + '\n'.join(parts) + '\n</body>\n</html>\n')


def _asset(name: str) -> str:
    return (files('basicsr_kd.report') / 'assets' / name).read_text('utf-8')


def _script(name: str) -> str:
    return f"<script>\n'use strict';\n{{\n{_asset(name)}}}\n</script>"  # in a block, which keeps its names local


def _viewer(gallery: Mapping[str, Any]) -> str:
    strip = ''.join(map(_small, gallery['photos']))
    return _asset('viewer.html').replace('STRIP', strip)


def _small(photo: Mapping[str, Any]) -> str:
    name, whole = escape(photo['name']), list(photo['pictures'].values())[-1]
    return (f'<a href="{whole}" title="{name}"><img loading="lazy" width="{photo["width"]}" height="{photo["height"]}" '
            f'alt="{name}" src="{photo["small"]}"></a>\n')


def _plot(plot: Plot, pictured: Collection[str]) -> str:
    """A plot in HTML, with links to the photos of those methods that have some."""
    spots = []
    for spot in plot.spots:
        link = 'href="#photos" ' if spot.method in pictured else ''
        spots.append(f'<a {link}tabindex="0" data-method="{escape(spot.method)}" aria-label="{escape(spot.text)}">'
                     f'<i style="left:{spot.left:.2%};top:{spot.top:.2%}"></i></a>\n')
    return (f'<h2>{plot.title}</h2>\n<div class="plot"><img alt="{plot.alt}" src="{_data("png", plot.png)}">\n'
            f'{"".join(spots)}</div>')


def _titled(table: Table) -> str:
    return f'<h2>{escape(table.title)}</h2>\n{html_table(table)}'


def _comparison(comparison: Comparison) -> str:
    left, top, width, height = comparison.mark
    whole = np.ascontiguousarray(comparison.overview[:, :, ::-1])
    line = max(1, max(whole.shape) // 200)
    for thickness, colour in ((2 * line, (0, 0, 0)), (line, (0, 255, 255))):  # black around yellow, to be seen on white
        cv2.rectangle(whole, (left, top), (left + width, top + height), colour, thickness)
    scale = min(1.0, _PHOTO / max(whole.shape[:2]))
    small = cv2.resize(whole, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    title = escape(comparison.name)
    crops = ''.join(
        f'<figure><img alt="{title}: {escape(label)}" '
        f'src="{_data("png", _encoded(".png", comparison.part(label)[:, :, ::-1]))}">'
        f'<figcaption>{broken(label)}<br>{escape(comparison.notes.get(label, ""))}</figcaption>'
        '</figure>\n'
        for label in comparison.images)
    return (f'<h3>{title}</h3>\n<img alt="{title}, the part marked" src="{_data("jpeg", _encoded(".jpg", small))}">\n'
            f'<br>\n<div class="crops">\n{crops}</div>')


def _encoded(suffix: str, image: np.ndarray) -> bytes:
    return cv2.imencode(suffix, np.ascontiguousarray(image))[1].tobytes()


def _data(kind: str, content: bytes) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'
