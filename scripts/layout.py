"""How large the files of the package are, and how much its parts lean on each other: python scripts/layout.py [PACKAGE]

A part is a file or a folder of the first level. An arrow is a pair of parts one of which imports the other, wherever
the import stands; it runs upwards where the other part imports the first one, too.
"""
import ast
import statistics
import sys
from pathlib import Path


def parts_imported(path: Path, package: Path) -> set[str]:
    """The parts that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.update(f'{node.module}.{alias.name}' for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    inside = {name.split('.')[1] for name in names if name.startswith(f'{package.name}.')}
    return {part for part in inside if (package / part).is_dir() or (package / f'{part}.py').is_file()}


def main() -> None:
    package = Path(sys.argv[1] if len(sys.argv) > 1 else 'basicsr_kd').resolve()
    files = sorted(package.rglob('*.py'))
    lines = sorted(len(path.read_text().splitlines()) for path in files)
    arrows = set()
    for path in files:
        part = path.relative_to(package).parts[0].removesuffix('.py')
        arrows |= {(part, other) for other in parts_imported(path, package) if other != part}
    both_ways = {tuple(sorted(arrow)) for arrow in arrows if arrow[::-1] in arrows}
    parts = {path.relative_to(package).parts[0].removesuffix('.py') for path in files} - {'__init__'}
    median, tenth = statistics.median(lines), lines[int(0.9 * len(lines))]
    print(f'{len(files)} files, {sum(lines):,} lines; median {median:g}, 90th percentile {tenth}, most {lines[-1]}')
    print(f'{len(list(package.glob("*.py")))} files in the root; {len(parts)} parts, {len(arrows)} arrows, '
          f'{len(both_ways)} both ways{": " if both_ways else ""}{", ".join(map(" - ".join, sorted(both_ways)))}')


if __name__ == '__main__':
    main()
