"""Pieces of a page; everything that they are given is escaped."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

TYPES = {b'\x89PNG': 'image/png', b'RIFF': 'image/webp', b'<?xm': 'image/svg+xml'}


def resource(name: str) -> str:
    """Return a text file of this package."""
    return (files('ssal3d.report') / name).read_text(encoding='utf-8')


def text(words: object, kind: str = 'p', name: str = '') -> str:
    """Return words as an element.

    Args:
        words: What is escaped and shown.
        kind: Name of the element.
        name: Its class.
    """
    return f'<{kind}{f" class={chr(34)}{escape(name)}{chr(34)}" if name else ""}>{escape(str(words))}</{kind}>'


def section(identity: str, title: str, parts: Iterable[str]) -> str:
    """Return a section with a heading that can be linked to; nothing without content."""
    content = ''.join(parts)
    return f'<section id="{escape(identity)}"><h2>{escape(title)}</h2>{content}</section>' if content else ''


def details(title: str, parts: Iterable[str]) -> str:
    """Return what is shown after a click; in print it is shown."""
    return f'<details><summary>{escape(title)}</summary>{"".join(parts)}</details>'


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table that scrolls within itself on a narrow screen; floats get two decimals."""
    head = ''.join(f'<th scope="col">{escape(str(name))}</th>' for name in header)
    body = ''.join(f'<tr>{"".join(f"<td>{escape(cell(value))}</td>" for value in row)}</tr>' for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def picture(content: bytes, caption: str, name: str = '', legend: str = '') -> str:
    """Return a figure with an embedded picture.

    Args:
        content: PNG, WebP or SVG.
        caption: Below it, and for those who cannot see it.
        name: Classes of the figure: ``'wide'`` scrolls within itself on a narrow screen.
        legend: HTML behind the caption.
    """
    data, words = base64.b64encode(content).decode(), escape(caption)
    return (
        f'<figure class="{escape(name)}"><img alt="{words}" loading="lazy" src="data:{TYPES[content[:4]]};base64,{data}">'
        f'<figcaption>{words}{legend}</figcaption></figure>'
    )


def legend(colours: Mapping[str, str]) -> str:
    """Return names with their colours, ``#rrggbb``."""
    swatches = (
        f'<span><i class="swatch" style="background:{escape(c)}"></i>{escape(n)}</span>' for n, c in colours.items()
    )
    return f'<span class="legend">{"".join(swatches)}</span>'


def words_of(names: Sequence[str], last: str = 'and') -> str:
    """Return names as a person lists them.

    >>> words_of(['Car', 'Van', 'Tram'])
    'Car, Van and Tram'
    """
    return f' {last} '.join(part for part in (', '.join(names[:-1]), *names[-1:]) if part)


def counts_of(boxes: Mapping[str, int] | None) -> str:
    """Return boxes by class in words, ``'–'`` without any."""
    return ', '.join(f'{count} {name}' for name, count in (boxes or {}).items() if count) or '–'


def cell(value: object) -> str:
    """Return a cell's text."""
    if value is None:
        return '–'
    return f'{value:.2f}' if isinstance(value, float) else str(value)
