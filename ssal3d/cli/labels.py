r"""Carry a query to the people who label, and their boxes back.

Example:
    ssal3d labels init --scans scans --classes car truck --out labels --sample 20
    ssal3d labels export --frames labels/first_frames.txt --labels labels/pool.json --scans scans \
        --format sly --out batch_0
    ssal3d labels status batch_0 --from returned.zip
    ssal3d labels import batch_0 --from returned.zip --labels labels/pool.json --out labels
    ssal3d labels check labels/boxes --scans scans --classes car truck
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssal3d.cli.arguments import Words, add_kind, make_parser
from ssal3d.cli.labels_arguments import (
    DEFAULT_IOU,
    FORMATS,
    add_plugin,
    add_source,
    agreement_of,
    frames_of,
    lines_of,
    load_plugins,
    options_of,
    pairs,
)
from ssal3d.cli.labels_check import add_check
from ssal3d.errors import ShortfallError, UserError, command
from ssal3d.options import check_range
from ssal3d.terminal import console, print_table


@command
def main(argv: Words = None) -> None:
    """Parse the words and run one of the steps."""
    parser = make_parser('labels', __doc__)
    steps = parser.add_subparsers(required=True, metavar='STEP')
    for add in (_add_init, _add_export, _add_import, _add_status, add_check):
        add(steps, parser)
    arguments = vars(parser.parse_args(argv))
    arguments.pop('run')(**arguments)


def _add_init(steps: Any, parent: argparse.ArgumentParser) -> None:
    parser = add_kind(steps, 'init', 'make the label state of a new pool, before anything is labelled', parent)
    add_source(parser)
    parser.add_argument('--classes', nargs='+', required=True, metavar='NAME', help='class names that are labelled')
    parser.add_argument('--name', help='name of the pool (default: that of the folder or file)')
    parser.add_argument('--out', type=Path, default=Path('labels'), help='folder of the label states (default: labels)')
    parser.add_argument('--sample', type=int, metavar='N', help='draw N random frames to label first')
    parser.add_argument('--seed', type=int, default=0, help='of the draw (default: 0)')
    parser.set_defaults(run=_init)


def _init(
    *,
    scans: Path | None,
    infos: Path | None,
    images: Path | None,
    load_dim: int,
    classes: list[str],
    name: str | None,
    out: Path,
    sample: int | None,
    seed: int,
) -> None:
    import numpy as np

    from ssal3d.data.label_state import LabelState
    from ssal3d.fileio import atomic_path

    check_range('--seed', seed)
    frames = frames_of(scans, infos, images, load_dim)
    pool = sorted(frames)
    if sample is not None and not 0 < sample <= len(pool):
        raise UserError(f'--sample: found {sample}, expected 1 to {len(pool)}, the number of frames')
    path = out / 'pool.json'
    if path.exists():
        raise UserError(f'{path}: there is a pool already; choose another folder with --out')
    if len(set(classes)) < len(classes):
        raise UserError(f'--classes: found {" ".join(classes)}, expected every name once')
    if not all(label.strip() for label in classes):
        raise UserError('--classes: found an empty name, expected names such as car truck')
    state = LabelState.empty(classes, name or (infos or scans or out).stem, pool)
    state.write(path)
    console.print(f'{len(pool)} frames, none labelled; wrote {path}', highlight=False, soft_wrap=True)
    if sample is not None:
        drawn = sorted(np.random.default_rng(seed).permutation(len(pool))[:sample].tolist())
        with atomic_path(out / 'first_frames.txt') as temporary:
            temporary.write_text(''.join(f'{pool[index]}\n' for index in drawn))
        console.print(f'{sample} frames to label first: {out / "first_frames.txt"}', highlight=False, soft_wrap=True)


def _add_export(steps: Any, parent: argparse.ArgumentParser) -> None:
    parser = add_kind(steps, 'export', 'write scans and pre-labels of a query for an annotation tool', parent)
    parser.add_argument('query', nargs='?', type=Path, help='query.json that ssal3d select wrote')
    parser.add_argument('--frames', type=Path, help='instead of a query: file with one frame id a line')
    parser.add_argument('--labels', type=Path, required=True, help='label state that the query was made for')
    add_source(parser)
    parser.add_argument('--format', required=True, metavar='NAME', help=f'of the tool: {", ".join(FORMATS)}')
    parser.add_argument('--option', nargs='+', default=[], metavar='KEY=VALUE', help='options of the format')
    parser.add_argument('--out', type=Path, required=True, help='folder to make')
    parser.add_argument('--predictions', type=Path, help='folder with predictions, to start from pre-labels')
    parser.add_argument('--reference-predictions', type=Path, help='of a second model; both must agree on a pre-label')
    parser.add_argument(
        '--threshold',
        nargs='+',
        metavar='[NAME=]SCORE',
        help='lowest score of a pre-label, for all classes and by class, e.g. 0.5 truck=0.3 (default: 0.5)',
    )
    parser.add_argument('--iou', type=float, help=f'BEV IoU from which two models agree (default: {DEFAULT_IOU:g})')
    parser.add_argument('--class-map', type=Path, metavar='FILE', help='JSON: our class names to those in the tool')
    add_plugin(parser)
    parser.set_defaults(run=_export)


def _export(
    *,
    query: Path | None,
    frames: Path | None,
    labels: Path,
    scans: Path | None,
    infos: Path | None,
    images: Path | None,
    load_dim: int,
    format: str,
    option: list[str],
    out: Path,
    predictions: Path | None,
    reference_predictions: Path | None,
    threshold: list[str] | None,
    iou: float | None,
    class_map: Path | None,
    plugin: list[str],
) -> None:
    from dataclasses import replace

    from ssal3d.annotation.exporting import export_query
    from ssal3d.annotation.prelabels import prelabels
    from ssal3d.annotation.sources import choose
    from ssal3d.data.label_state import LabelState, pool_digest
    from ssal3d.fileio import read_json, sha256
    from ssal3d.predictions import read_predictions

    thresholds, iou = agreement_of(predictions, reference_predictions, threshold, iou)
    load_plugins(plugin)
    state = LabelState.read(labels)
    round_number, facts = _wanted(query, frames, state)
    everything = frames_of(scans, infos, images, load_dim)
    state.check_pool(sorted(everything))
    chosen = [replace(frame, facts=facts[frame.frame_id]) for frame in choose(everything, list(facts), query or frames)]
    boxes: dict[str, tuple[Any, ...]] | None = None
    metadata: Mapping[str, Any] = {}
    if predictions is not None:
        pool = read_predictions(predictions)
        reference = read_predictions(reference_predictions) if reference_predictions else None
        boxes, metadata = prelabels(list(facts), pool, reference, thresholds, iou), pool.metadata
        boxes = {
            name: tuple(cuboid for cuboid in found if cuboid.class_name in state.classes)
            for name, found in boxes.items()
        }
    export, notes = export_query(
        chosen,
        out,
        format,
        classes=state.classes,
        round_number=round_number,
        pool={'name': state.pool_name, 'size': state.pool_size, 'sha256': state.pool_sha256},
        prelabels=boxes,
        options=options_of(option),
        class_map=read_json(class_map, schema=False, holds=Mapping[str, str]) if class_map else None,
        labelled_sha256=pool_digest(state.frame_ids),
        query_sha256=sha256(query) if query else '',
        checkpoint_sha256=metadata.get('checkpoint_sha256') or '',
        source={
            'query': str(query or frames),
            'labels': str(labels),
            'predictions': str(predictions or ''),
            'reference_predictions': str(reference_predictions or ''),
            'thresholds': thresholds,
            'iou': iou,
        },
    )
    counts = export.prelabels_of_class()
    print_table(f'{len(chosen)} frames for {format} in {out}', ('class', 'pre-labels'), counts.items())
    for note in notes:
        console.print(f'note: {note}', highlight=False, markup=False)


def _wanted(query: Path | None, frames: Path | None, state: Any) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the round and, by frame id in their order, why the frames were chosen."""
    from ssal3d.active.query.query_file import Query

    labelled = set(state.frame_ids)
    facts: dict[str, dict[str, Any]]
    if (query is None) == (frames is None):
        raise UserError('expected a query.json or --frames FILE, one of them')
    if query is not None:
        content = Query.read(query)
        if content.pool.get('sha256', state.pool_sha256) != state.pool_sha256:
            raise UserError(f'{query}: made for another pool than the label state; give the state it was made with')
        round_number = content.round
        facts = {
            frame.frame_id: {
                'rank': rank,
                'utility': frame.utility,
                'similarity': frame.similarity,
                'predicted_boxes': dict(frame.predicted_boxes),
            }
            for rank, frame in enumerate(content.frames)
        }
    else:
        assert frames is not None
        round_number = max((frame.round for frame in state.frames), default=-1) + 1
        facts = {name: {'rank': rank} for rank, name in enumerate(lines_of(frames))}
    for name in facts:
        if name in labelled:
            raise UserError(
                f'{query or frames}: frame {name} is labelled already; give the state the query was made with'
            )
    if not facts:
        raise UserError(f'{query or frames}: there is no frame in it, nothing to export')
    return round_number, facts


def _add_import(steps: Any, parent: argparse.ArgumentParser) -> None:
    parser = add_kind(steps, 'import', 'take labels back: next label state, boxes, and what people changed', parent)
    _add_returned(parser)
    parser.add_argument('--labels', type=Path, required=True, help='label state that the query was made for')
    parser.add_argument('--out', type=Path, default=Path('labels'), help='folder of the label states (default: labels)')
    parser.add_argument(
        '--kitti', type=Path, metavar='INFOS', help='also write label_2/*.txt with the calibrations of this infos file'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace the state of this round; by default it is extended'
    )
    parser.set_defaults(run=_import)


def _import(*, labels: Path, out: Path, kitti: Path | None, overwrite: bool, **returned: Any) -> None:
    from dataclasses import replace

    from ssal3d.annotation.provenance import Export
    from ssal3d.annotation.sources import frames_of_infos
    from ssal3d.annotation.store import imported_before, later_states, store
    from ssal3d.annotation.telling import show_labels
    from ssal3d.data.label_state import LabelState, pool_digest

    base, export = LabelState.read(labels), Export.read(returned['batch'])
    if export.pool.get('sha256', base.pool_sha256) != base.pool_sha256:
        raise UserError(f'{labels}: belongs to another pool than the batch {returned["batch"]}')
    if export.labelled_sha256 not in ('', pool_digest(base.frame_ids)):
        raise UserError(
            f'{labels}: other frames are labelled in it ({len(base.frames)}) than when {returned["batch"]} was exported; give '
            'the label state that it was exported with'
        )
    found, scans = _read(**returned), returned['scans'] or Path()
    done = set() if overwrite else {entry.frame_id for entry in imported_before(out, base, export.round)}
    missing, untouched = (tuple(n for n in names if n not in done) for names in (found.missing, found.untouched))
    found = replace(found, missing=missing, untouched=untouched)
    show_labels(found, export)
    if not found.frames:
        raise ShortfallError(f'no frame of {returned["batch"]} is labelled and free of mistakes; nothing was written')
    calibrated = frames_of_infos(kitti, scans) if kitti else None
    path = store(found, base, export.round, out, overwrite=overwrite, kitti=calibrated)
    console.print(f'wrote {path}, {out / "boxes"} and {path.stem}_import.json', highlight=False, soft_wrap=True)
    state = LabelState.read(path)
    for later in later_states(out, state, export.round):
        console.print(f'note: {later} holds other labels of these frames; import its batch again, with --labels {path}')
    imported, wrong = len(state.frames) - len(base.frames), len({problem.frame_id for problem in found.problems})
    if imported < len(export.frames) or wrong:
        counts = [(len(missing), 'missing'), (len(untouched), 'unchanged'), (wrong, 'with mistakes')]
        listed = ', '.join(f'{count} {what}' for count, what in counts)
        raise ShortfallError(
            f'{imported} of {len(export.frames)} frames imported; {listed}; run the same command again when they are done'
        )


def _add_status(steps: Any, parent: argparse.ArgumentParser) -> None:
    parser = add_kind(steps, 'status', 'how far a batch is; writes nothing', parent)
    _add_returned(parser)
    parser.set_defaults(run=_status)


def _status(**returned: Any) -> None:
    from ssal3d.annotation.provenance import Export
    from ssal3d.annotation.telling import show_labels

    show_labels(_read(**returned), Export.read(returned['batch']))


def _add_returned(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('batch', type=Path, help='folder that was exported')
    parser.add_argument(
        '--from',
        dest='returned',
        type=Path,
        help='folder or archive that the tool gave back (default: the exported folder, for tools that edit in place)',
    )
    parser.add_argument('--only', type=Path, metavar='FILE', help='take only the frames in this file, one id a line')
    parser.add_argument(
        '--checked', type=Path, metavar='FILE', help='frames that somebody checked, changed or not, one id a line'
    )
    parser.add_argument(
        '--accept-untouched', action='store_true', help='count all frames that came back as they went out as checked'
    )
    parser.add_argument(
        '--alias', nargs='+', default=[], metavar='TOOL=NAME', help='further class names of the tool, and our names'
    )
    parser.add_argument('--ignore-classes', nargs='+', default=[], metavar='NAME', help='classes to leave out')
    parser.add_argument(
        '--front',
        choices=('auto', '+x', '+y'),
        default='auto',
        help='where boxes look that people drew in tools without fronts (default: along the longer side)',
    )
    parser.add_argument('--scans', type=Path, help='folder of the scans, if they moved since the export')
    parser.add_argument('--option', nargs='+', default=[], metavar='KEY=VALUE', help='options of the format')
    add_plugin(parser)


def _read(
    *,
    batch: Path,
    returned: Path | None,
    only: Path | None,
    checked: Path | None,
    accept_untouched: bool,
    alias: list[str],
    ignore_classes: list[str],
    front: str,
    scans: Path | None,
    option: list[str],
    plugin: list[str],
) -> Any:
    from ssal3d.annotation.importing import ImportSettings, read_labels

    load_plugins(plugin)
    settings = ImportSettings(
        aliases=pairs(alias, '--alias'),
        ignored=frozenset(ignore_classes),
        accept_untouched=accept_untouched,
        checked=frozenset(lines_of(checked)) if checked else frozenset(),
        only=None if only is None else frozenset(lines_of(only)),
        front=front,
        scans=scans,
        options=options_of(option),
    )
    return read_labels(batch, returned, settings)
