"""Relative links and anchors of the pages: an own check that needs nothing installed, and so always runs."""

import doctest
import importlib
import re

import pytest

from tests.helpers.paths import ROOT

PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), *ROOT.glob('docs/**/*.ipynb')])


@pytest.fixture(scope='module')
def links():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'tools' / 'documentation'))
        yield importlib.import_module('links')


def test_every_link_of_readme_and_docs_leads_somewhere(links):
    assert {ROOT / 'README.md', ROOT / 'docs' / 'index.md', ROOT / 'docs' / 'tutorial.ipynb'} <= set(PAGES)
    assert [line for page in PAGES for line in links.broken_links(page, ROOT)] == []


def test_broken_links_are_found_with_line_and_reason(links, tmp_path):
    (tmp_path / 'other.md').write_text('# Other `page`: it\n\n```\n# no heading\n```\n')
    page = tmp_path / 'page.md'
    page.write_text(
        '[fine](other.md#other-page-it) and [here](#a-b)\n\n# A, b\n\n![gone](gone.png)\n[no](other.md#no-heading)\n'
        '<img src="gone.svg"> [out](../x.md) [web](https://example.org/x.md) `[code](gone.md)`\n'
        '```\n[code](gone.md)\n```\n[titled](<gone too.md> "title") [here](#nowhere)\n'
    )
    assert links.broken_links(page, tmp_path) == [
        'page.md:5: gone.png: no such file',
        'page.md:6: other.md#no-heading: no such heading',
        'page.md:7: gone.svg: no such file',
        'page.md:7: ../x.md: leads out of the repository',
        'page.md:11: gone too.md: no such file',
        'page.md:11: #nowhere: no such heading',
    ]


def test_links_of_notebooks_are_checked(links, tmp_path):
    page = tmp_path / 'page.ipynb'
    page.write_text(
        '{"cells": [{"cell_type": "markdown", "source": ["text\\n", "[gone](gone.md)"]},'
        ' {"cell_type": "code", "source": ["x = \'[code](no.md)\'"]}]}'
    )
    assert links.broken_links(page, tmp_path) == ['page.ipynb:2: gone.md: no such file']


def test_anchors_are_those_of_code_hosts(links):
    assert doctest.testmod(links).attempted > 0 == doctest.testmod(links).failed


def test_the_site_and_the_map_of_the_docs_know_every_page(links):
    navigation = set(re.findall(r'[\w/]+\.md$', (ROOT / 'mkdocs.yml').read_text(), re.MULTILINE))
    index = ROOT / 'docs' / 'index.md'
    mapped = {link.path for link in links.relative_links(index, index.read_text())}
    pages = sorted(path for path in PAGES if path.parent == ROOT / 'docs' and path != index)
    assert [path.name for path in pages if path.with_suffix('.md').name not in navigation] == []
    assert [path.name for path in pages if path not in mapped] == []
    assert [path.name for path in ROOT.glob('docs/api/*.md') if f'api/{path.name}' not in navigation] == []
