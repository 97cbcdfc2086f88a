"""What MkDocs does beyond its pages: notebooks and linked files of the repository become pages, API pages are complete.

A page of `docs/` may link to any file of the repository, as on a code host. The site shows such files below
`repository/`, so that none of these links leads out of it.
"""

import logging
import os
import re
from pathlib import Path
from typing import Any

from links import relative_links
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from notebooks import notebook_page
from public_names import package_exports

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
LANGUAGES = {'.cfg': 'ini', '.json': 'json', '.py': 'python', '.sh': 'bash', '.toml': 'toml', '.yml': 'yaml'}
log = logging.getLogger('mkdocs.plugins.ssal3d')  # a strict build counts the warnings of MkDocs's own loggers only


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, and for each file of the repository that a page links to."""
    texts = {DOCS / file.src_uri: file.content_string for file in files.documentation_pages()}
    for notebook in [file for file in files if file.src_uri.endswith('.ipynb')]:
        path = DOCS / notebook.src_uri
        texts[path], pictures = notebook_page(path, executed=ROOT / 'build' / 'docs' / notebook.src_uri)
        files.append(File.generated(config, site_uri(path), content=texts[path]))
        for name, content in pictures.items():
            files.append(File.generated(config, site_uri(path.parent / name), content=content))
    while texts:
        page, text = texts.popitem()
        for link in relative_links(page, text):
            if link.path.is_file() and not files.get_file_from_path(site_uri(link.path)):
                content = source_page(link.path)
                uri = site_uri(link.path)
                files.append(File.generated(config, uri, content=content, inclusion=InclusionLevel.NOT_IN_NAV))
                texts[link.path] = content
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point the links of a page at where the site has what they lead to."""
    uri = page.file.src_uri
    for link in relative_links(origin(uri), markdown):
        if link.path.is_file() and not link.target.startswith('#'):
            aim = os.path.relpath(site_uri(link.path), Path(uri).parent) + (f'#{link.anchor}' if link.anchor else '')
            markdown = markdown.replace(f']({link.target})', f']({aim})')
    return markdown


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Warn, which ends a strict build, of public names of a package that its API page does not describe."""
    for package in re.findall(r'^::: (ssal3d[\w.]*)$', page.markdown or '', re.MULTILINE):
        for name in package_exports(ROOT / package.replace('.', '/')):
            if not re.search(rf'id="ssal3d[\w.]*\.{name}"', html):
                log.warning(
                    f"'{page.file.src_uri}' does not describe {package}.{name}: give it a docstring or, where a module "
                    f"has the same name, the page a line '::: {package}.<module>.{name}'"
                )
    return html


def site_uri(path: Path) -> str:
    """Return the name in the site's sources of a file of the repository; notebooks and sources become pages."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix().replace('.ipynb', '.md')
    name = path.relative_to(ROOT).as_posix()
    return f'repository/{name}' if name.endswith('.md') else f'repository/{name}.md'


def origin(uri: str) -> Path:
    """Return a path in the folder of the repository from which the links of a page of the site start."""
    first, _, rest = uri.partition('/')
    return ROOT / rest if first == 'repository' else DOCS / uri


def source_page(path: Path) -> str:
    """Return the page that shows a file of the repository."""
    text = path.read_text()
    if path.suffix == '.md':
        return text
    return f'# {path.relative_to(ROOT)}\n\n`````{LANGUAGES.get(path.suffix, "text")}\n{text}`````\n'
