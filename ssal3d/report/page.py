"""One page about one or several experiments: self-contained HTML that needs no network."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ssal3d.errors import UserError
from ssal3d.fileio import atomic_path, refuse_inputs
from ssal3d.report.banks import bank_section
from ssal3d.report.chosen import Choice, query_section
from ssal3d.report.comparison import Group, group
from ssal3d.report.experiment import read_experiment
from ssal3d.report.html import resource, text
from ssal3d.report.learned import detector_sections, label_section, promotion_section
from ssal3d.report.resources import cost_section, repeat_section
from ssal3d.report.story import story
from ssal3d.report.trust import trust_section
from ssal3d.report.viewer import script_hash, viewer_section
from ssal3d.report.work_dirs import refuse_twice

PAGES = ('.html', '.htm')  # endings of what a page may take the place of
TITLES = re.compile(r'<section id="([^"]*)"><h2>(.*?)</h2>')


def write_report(folders: Sequence[str | Path], out: str | Path, data_root: str | Path | None = None) -> Path:
    """Write the page of experiments; the first one is shown in full, the others are compared with it.

    Experiments that differ in their seed alone are one line with a band.

    Args:
        folders: Work dirs of experiments, finished or running.
        out: The HTML file.
        data_root: Where the data of the pool lie now, if they moved.

    Returns:
        Its path.

    Raises:
        UserError: If a folder is named twice, holds no experiment or one with other classes, if the data that are
            shown are gone, or if ``out`` is a file that is no page.
    """
    out = Path(out)
    refuse_inputs(out, *folders)
    if out.exists() and out.suffix.lower() not in PAGES:  # e.g. the journal of the experiment
        raise UserError(f'{out}: is there and no HTML file, expected a page to write over; give another --out')
    refuse_twice(folders)
    experiments = [read_experiment(folder, data_root) for folder in folders]
    for other in experiments[1:]:
        if other.classes != experiments[0].classes:
            raise UserError(
                f'{other.folder}: found the classes {", ".join(other.classes)}, expected {", ".join(experiments[0].classes)} '
                f'as in {experiments[0].folder}; compare experiments with the same classes'
            )
    with atomic_path(out) as temporary:
        temporary.write_text(page(group(experiments)), encoding='utf-8')
    return out


def page(groups: Sequence[Group]) -> str:
    """Return the page of experiments.

    Args:
        groups: The experiments; the first run of the first group is shown in full.
    """
    first, firsts = groups[0].first, [some.first for some in groups]
    choices = [Choice.of(first, step) for step in first.queries]
    sections = [
        *detector_sections(groups),
        promotion_section(first),
        label_section(firsts),
        *map(query_section, choices),
        viewer_section(choices),
        trust_section(choices),
        bank_section(first),
        cost_section(first),
        repeat_section([run for some in groups for run in some.runs]),
    ]
    body = ''.join(sections)
    links = ''.join(f'<a href="#{name}">{title}</a>' for name, title in TITLES.findall(body))
    summary = ''.join(f'<p>{text(question, "b")} {escape(answer)}</p>' for question, answer in story(groups))
    # The browser itself refuses whatever this page does not bring along: network, and every script but the viewer.
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {script_hash()}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(first.name)}: ssal3d report</title><style>{resource("page.css")}</style></head><body>'
        f'{text(first.name, "h1")}<div id="summary">{summary}</div><nav>{links}</nav>{body}</body></html>\n'
    )
