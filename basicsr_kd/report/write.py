"""Writes a report into a folder, all of it or nothing."""
from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from basicsr_kd.report.cells import to_csv, to_latex, to_markdown
from basicsr_kd.report.crops import caption
from basicsr_kd.report.figure import comparison_figure
from basicsr_kd.report.gallery import FOLDER, write_gallery
from basicsr_kd.report.page import Plot, html_page
from basicsr_kd.report.pareto import pareto_plot
from basicsr_kd.report.report import Report

FILES = ('report.md', 'index.html', FOLDER, 'pareto.png', 'runtimes.png', 'comparison.png',
         *(f'{name}.{suffix}' for name in ('overview', 'cost', 'runtimes', 'parts', 'table1', 'table2')
           for suffix in ('md', 'tex', 'csv')))
"""Everything that a report may consist of: files, and the folder of the page's pictures."""
_PANELS = 7  # panels side by side


def write_report(report: Report, folder: Path) -> list[str]:
    """Write report.md, index.html, and the tables and pictures that the report has.

    Everything is first made in a folder beside `folder`. The files of an earlier report are removed.

    Returns:
        The names of what was written, in the order of `FILES`.

    Raises:
        OSError: A file cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f'.{folder.name}-', dir=folder.parent))
    try:
        _write_all(report, made)
        folder.mkdir(exist_ok=True)
        for name in FILES:
            _remove(folder / name)
        written = [name for name in FILES if (made / name).exists()]
        for name in written:
            os.replace(made / name, folder / name)
    finally:
        shutil.rmtree(made)
    return written


def markdown_page(report: Report) -> str:
    """The whole report in Markdown; its pictures lie beside it."""
    parts = ['# Report', report.subject()]
    for table in report.tables:
        parts += [f'## {table.title}', to_markdown(table)]
    parts += ['## Quality against cost', '![Quality against cost](pareto.png)'] if report.panels else []
    parts += ['## Quality against time in the runtime',
              '![Quality against time in the runtime](runtimes.png)'] if report.runtimes else []
    parts += ['## Comparison', '![The same crops of every method](comparison.png)'] if report.comparisons else []
    parts += ['## How to read this', '\n'.join(f'- {note}' for note in report.all_notes())]
    return '\n\n'.join(parts) + '\n'


def _write_all(report: Report, folder: Path) -> None:
    for table in report.tables:
        notes = report.notes(table)
        listed = '\n'.join(f'- {note}' for note in notes)
        (folder / f'{table.name}.md').write_text(f'{table.title}\n\n{to_markdown(table)}\n\n{listed}\n', 'utf-8')
        (folder / f'{table.name}.tex').write_text(to_latex(table, ' '.join(notes)), 'utf-8')
        # with the mark by which spreadsheets tell UTF-8
        (folder / f'{table.name}.csv').write_text(to_csv(table), 'utf-8-sig')
    plots = []
    if report.panels:
        spots = pareto_plot(folder / 'pareto.png', report.runs, report.panels)
        plots.append(Plot('Quality against cost', 'Quality against parameters and seconds',
                          (folder / 'pareto.png').read_bytes(), spots))
    if report.runtimes:
        spots = pareto_plot(folder / 'runtimes.png', report.runs, report.runtimes)
        plots.append(Plot('Quality against time in the runtime', 'Quality against milliseconds',
                          (folder / 'runtimes.png').read_bytes(), spots))
    if report.comparisons:
        comparison_figure(folder / 'comparison.png', report.comparisons,
                          f'{caption(report.runs)} ({report.runs.protocol.text})', most=_PANELS)
    gallery = write_gallery(folder, report.photos, report.methods, report.timed) if report.photos else None
    (folder / 'report.md').write_text(markdown_page(report), 'utf-8')
    (folder / 'index.html').write_text(html_page(report, plots, gallery), 'utf-8')


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
