"""Notebooks as pages, with what their cells printed and drew."""

from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter


def notebook_page(path: Path, executed: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and its pictures by their path relative to it.

    Args:
        path: The notebook, without outputs.
        executed: The same with outputs, which `tools/build_docs.py` makes. If it is missing or older than a change of
            the cells, the page has no outputs.
    """
    notebook = nbformat.read(path, as_version=4)
    if executed.exists():
        run = nbformat.read(executed, as_version=4)
        notebook = run if sources(run) == sources(notebook) else notebook
    text, resources = MarkdownExporter().from_notebook_node(
        notebook, resources={'output_files_dir': f'{path.stem}_files', 'unique_key': path.stem}
    )
    title, rest = text.split('\n', 1)
    link = f'<a href="{path.name}" download>This page is a notebook: download it.</a>'
    return f'{title}\n\n{link}\n{rest}', resources['outputs']


def sources(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what the cells of a notebook say."""
    return [cell.source for cell in notebook.cells]
