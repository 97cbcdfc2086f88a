"""What came back from the annotators, in words: for the command and for the loop."""

from collections.abc import Sequence

from ssal3d.annotation.importing import Labels
from ssal3d.annotation.provenance import Export
from ssal3d.terminal import console, print_table

SHOWN = 20  # lines of problems and warnings; all stand in the report of the import


def show_labels(labels: Labels, export: Export) -> None:
    """Print what is wrong, missing or worth a look, the boxes by class, and what people did to the pre-labels.

    Args:
        labels: What came back.
        export: What was handed out.
    """
    _print_lines('wrong', [problem.text for problem in labels.problems])
    _print_lines('look at', labels.warnings)
    _print_lines('missing', [f'frame {name} has no label file' for name in labels.missing])
    _print_lines('unchanged', [f'frame {name} came back as it was handed out' for name in labels.untouched])
    if labels.untouched:
        console.print('unchanged frames that somebody checked count if they are listed as checked', highlight=False)
    counts: dict[str, int] = dict.fromkeys(export.classes, 0)
    for _, boxes in labels.counts(export.classes):
        for name, count in boxes.items():
            counts[name] += count
    print_table(f'{len(labels.frames)} of {len(export.frames)} frames labelled', ('class', 'boxes'), counts.items())
    print_table('what people did to the pre-labels', ('boxes', 'number'), labels.cost.items())


def _print_lines(title: str, lines: Sequence[str]) -> None:
    for line in lines[:SHOWN]:
        console.print(f'{title}: {line}', highlight=False, markup=False, soft_wrap=True)
    if len(lines) > SHOWN:
        console.print(f'{title}: and {len(lines) - SHOWN} more', highlight=False)
