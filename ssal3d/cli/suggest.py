"""Suggest classes, range, voxels and anchors for own data from its labelled frames; --out writes a config.

Example:
    ssal3d suggest data/mine --out my.py
    ssal3d train my.py
"""

from pathlib import Path

from ssal3d.cli.arguments import Words, extra_tag, make_parser
from ssal3d.errors import UserError, command
from ssal3d.fileio import atomic_path
from ssal3d.terminal import console, print_table

TEMPLATE = 'ssal3d::ssal/pvrcnn_folder.py'


@command
def main(argv: Words = None) -> None:
    """Parse the arguments, print the suggestion and write the config."""
    parser = make_parser('suggest', __doc__)
    parser.add_argument('folder', type=Path, help='what `ssal3d create-data folder` wrote')
    parser.add_argument(
        '--extra-tag', type=extra_tag, default='folder', help='prefix of the annotation files (default: folder)'
    )
    parser.add_argument('--out', type=Path, help='config to write, a copy of configs/ssal/pvrcnn_folder.py')
    parser.add_argument('--force', action='store_true', help='replace the config if it is there')
    arguments = parser.parse_args(argv)
    _suggest(arguments.folder, arguments.extra_tag, arguments.out, arguments.force)


def _suggest(folder: Path, tag: str, out: Path | None, force: bool) -> None:
    from ssal3d.configs import find_config
    from ssal3d.data.folder.suggestion import as_block, fill_template, read_suggestion

    if out is not None and out.exists() and not force:
        raise UserError(f'{out}: exists already; give another --out, or --force to replace it')
    suggestion = read_suggestion(folder, tag)
    print_table(
        'anchors',
        ('class', 'boxes', 'length', 'width', 'height', 'bottom'),
        [
            (name, suggestion.boxes[name], *size, bottom)
            for name, size, bottom in zip(
                suggestion.class_names, suggestion.anchor_sizes, suggestion.anchor_bottoms, strict=True
            )
        ],
    )
    labels = folder / 'labels' / 'round_0.json'
    block = as_block(suggestion, folder, tag, labels if labels.exists() else None)
    console.print(block, highlight=False, markup=False, soft_wrap=True)
    for note in suggestion.notes:
        console.print(f'warning: {note}', highlight=False, markup=False)
    if out is not None:
        with atomic_path(out) as temporary:
            temporary.write_text(fill_template(find_config(TEMPLATE).read_text(), block))
        console.print(f'config: {out}', highlight=False, markup=False)
