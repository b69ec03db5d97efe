"""Draw the layers of the engine from its imports: ``python tools/draw_layers.py`` writes ``docs/images/layers.svg``.

Rows are the layers of the import-linter's contract in ``pyproject.toml``, boxes their packages, lines the imports
between packages, the thicker the more there are. Imports of ``errors``, which nearly all need, and imports for types
alone are left out.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

REPO = Path(__file__).resolve().parent.parent
PICTURE = REPO / "docs" / "images" / "layers.svg"
ENGINE = "openhcs_engine"
WIDTH, ROW, BOX, HEIGHT = 1000, 92, 128, 40
"""Pixels: of the picture, from row to row, and of a box."""


def layers() -> list[list[str]]:
    """Packages of each layer, from the top."""
    contracts = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rows,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip().removeprefix(f"{ENGINE}.") for name in row.split("|")] for row in rows]


def imports() -> Counter[tuple[str, str]]:
    """How many imports lead from one package to another."""
    graph = grimp.build_graph(ENGINE, exclude_type_checking_imports=True)
    found: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            importer, target = _package(module), _package(imported)
            if importer and target and importer != target:
                found[importer, target] += 1
    return found


def _package(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def picture() -> str:
    """The SVG."""
    rows = layers()
    centres = {
        name: (round(WIDTH * (column + 1) / (len(row) + 1)), 50 + ROW * number)
        for number, row in enumerate(rows)
        for column, name in enumerate(row)
    }
    counts = {pair: count for pair, count in sorted(imports().items()) if set(pair) <= centres.keys() - {"errors"}}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {ROW * len(rows) + 20}" '
        'font-family="sans-serif" font-size="15">',
        f'<rect width="{WIDTH}" height="{ROW * len(rows) + 20}" fill="#ffffff"/>',
    ]
    for (importer, target), count in counts.items():
        (x1, y1), (x2, y2) = centres[importer], centres[target]
        start, end, bend = y1 + HEIGHT // 2, y2 - HEIGHT // 2, ROW // 2
        parts.append(
            f'<path d="M{x1} {start} C{x1} {start + bend} {x2} {end - bend} {x2} {end}" fill="none" stroke="#4a7fb5" '
            f'stroke-opacity="0.45" stroke-width="{min(0.8 + count / 6, 7):.1f}"><title>'
            f"{importer} → {target}: {count}</title></path>"
        )
    for name, (x, y) in centres.items():
        parts.append(
            f'<rect x="{x - BOX // 2}" y="{y - HEIGHT // 2}" width="{BOX}" height="{HEIGHT}" rx="6" fill="#f3f6fa" '
            f'stroke="#27415c"/><text x="{x}" y="{y + 5}" text-anchor="middle" fill="#16283a">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    PICTURE.write_text(picture())
    print(f"{PICTURE.relative_to(REPO)}: {sum(map(len, layers()))} packages in {len(layers())} layers")
