"""The pages: links lead somewhere, headings included, every page is in the index, and the README stays short."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
PAGES = [*sorted(ROOT.glob('*.md')), *sorted(DOCS.rglob('*.md'))]
_LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s]+)\)')
_HEADING = re.compile(r'^#+ +(.+?) *$', re.MULTILINE)
_BLOCK = re.compile(r'^```.*?^```', re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """Its text without blocks of code, in which # and [] mean other things."""
    return _BLOCK.sub('', page.read_text(encoding='utf-8'))


def anchors(page: Path) -> set[str]:
    """What GitHub calls its headings: small letters, hyphens for spaces, nothing for other signs."""
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in _HEADING.findall(prose(page))}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in _LINK.findall(prose(page)):
        if link.startswith(('http://', 'https://')):
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists() and target.is_relative_to(ROOT), f'{link}: there is no such file'
        if anchor:
            assert anchor in anchors(target), f'{link}: {target.name} has no such heading'


def test_the_index_has_every_page():
    index = (DOCS / 'README.md').read_text(encoding='utf-8')
    listed = {(DOCS / link.partition('#')[0]).resolve() for link in _LINK.findall(index) if '://' not in link}
    missing = {page for page in DOCS.rglob('*.md') if page != DOCS / 'README.md'} - listed
    assert not missing, f'docs/README.md does not list {sorted(map(str, missing))}'


def test_the_readme_is_short():
    assert len((ROOT / 'README.md').read_text(encoding='utf-8').splitlines()) <= 150
