"""Links of Markdown pages: where they lead, and which of them lead nowhere. Only the standard library is used."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

FENCE = re.compile(r'^ *(`{3,}|~{3,})[^\n]*\n.*?^ *\1[`~]* *$', re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r'(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\1(?!`)', re.DOTALL)  # within a paragraph
LINK = re.compile(r'\]\((?:<([^>]+)>|([^()\s]+))(?: +"[^"]*")?\)|(?:href|src)="([^"]+)"')
HEADING = re.compile(r'^#{1,6} +(.+?) *#*$', re.MULTILINE)
ELSEWHERE = re.compile(r'[a-z][a-z0-9+.-]*:|//')


@dataclass(frozen=True)
class Link:
    """A relative link of a page.

    Attributes:
        line: Line of the page, from 1.
        target: As it is written.
        path: Absolute path of what it leads to; the page itself for ``#anchor``.
        anchor: Part after ``#``; empty without one.
    """

    line: int
    target: str
    path: Path
    anchor: str


def relative_links(page: Path, text: str) -> Iterator[Link]:
    """Yield the relative links and images of a Markdown page; what stands in code is none.

    Args:
        page: Absolute path of the page.
        text: Its content.
    """
    prose = _without_code(text)
    for match in LINK.finditer(prose):
        target = match[1] or match[2] or match[3]
        if not ELSEWHERE.match(target):
            path, _, anchor = unquote(target).partition('#')
            line = prose.count('\n', 0, match.start()) + 1
            yield Link(line, target, (page.parent / path).resolve() if path else page, anchor)


def anchors(text: str) -> set[str]:
    r"""Return the anchors that code hosts and the site give to the headings of a page.

    >>> sorted(anchors('# One `page`: 3D & more\n## Limits'))
    ['limits', 'one-page-3d--more']
    """
    visible = FENCE.sub('', text)
    titles = (re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', match[1]) for match in HEADING.finditer(visible))
    return {re.sub(r'[^\w\- ]', '', title).strip().lower().replace(' ', '-') for title in titles}


def broken_links(page: Path, root: Path) -> list[str]:
    """Return a line for each relative link of a page that leads nowhere.

    Args:
        page: Absolute path of a Markdown page or a notebook.
        root: Folder of the repository; a link must not lead out of it.
    """
    text = page_text(page)
    return [
        f'{page.relative_to(root)}:{link.line}: {link.target}: {reason}'
        for link in relative_links(page, text)
        if (reason := _fault(link, root))
    ]


def page_text(page: Path) -> str:
    """Return the Markdown of a page; of a notebook, that of its text cells."""
    if page.suffix != '.ipynb':
        return page.read_text()
    cells = json.loads(page.read_text())['cells']
    return '\n\n'.join(''.join(cell['source']) for cell in cells if cell['cell_type'] == 'markdown')


def _fault(link: Link, root: Path) -> str:
    if not link.path.is_relative_to(root):
        return 'leads out of the repository'
    if not link.path.exists():
        return 'no such file'
    if link.anchor and (link.path.suffix != '.md' or link.anchor not in anchors(link.path.read_text())):
        return 'no such heading'
    return ''


def _without_code(text: str) -> str:
    """Blank out code, so that positions and lines stay."""
    for pattern in (FENCE, INLINE_CODE):
        text = pattern.sub(lambda match: re.sub(r'[^\n]', ' ', match[0]), text)
    return text
