"""Readers of the files that ssal3d itself defines or writes, each with small valid files."""

import io
import json
import pickle
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tools.faults.fuzzing import Example, Reader

CLASSES = ('Car', 'Pedestrian')


def plain(value: Any) -> None:
    """Check that what was read holds finite numbers and printable names only, however deep.

    Raises:
        AssertionError: If not.
    """
    if is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            plain(getattr(value, item.name))
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            assert isinstance(key, str), f'a key {key!r}'
            plain(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            plain(entry)
    elif isinstance(value, float):
        assert np.isfinite(value), f'a number {value}'
    elif isinstance(value, np.ndarray) and value.dtype.kind == 'f':
        assert np.isfinite(value).all(), 'a number that is not finite'
    elif isinstance(value, str):
        value.encode()  # raises for halves of characters, which no file can hold


def labels_reader() -> Reader:
    """Label states: ``labels/round_0.json``."""
    from ssal3d.data.label_state import LabelState

    state = LabelState.empty(CLASSES, 'train', ['a', 'b', 'c']).buy(0, [('a', {'Car': 2}), ('b', {})])

    def check(found: LabelState) -> None:
        plain(found)
        assert all(isinstance(name, str) for name in found.classes)
        assert all(isinstance(count, int) and count >= 0 for count in found.counts.values())
        assert isinstance(found.pool_size, int)
        assert found.pool_size >= 0
        assert isinstance(found.pool_name, str)
        assert isinstance(found.pool_sha256, str)

    return Reader('labels', lambda at: LabelState.read(at / 'x.json'), [_written(state.write)], check)


def query_reader() -> Reader:
    """Queries: ``query.json``."""
    from ssal3d.active.query.query_file import Query, SelectedFrame
    from ssal3d.active.query.settings import QuerySettings

    frames = (
        SelectedFrame('a', 0.5, None, {'Car': 3}, {'Car': 2}, 0),
        SelectedFrame('b', None, 0.25, {'Car': 1}, None, 1),
    )
    query = Query(
        1, {'type': 'CALSampler'}, 3, QuerySettings(5, cost_score={'Car': 0.3}), 4, {'Car': 2}, 'predicted', 'budget',
        {'name': 'train', 'size': 3, 'sha256': 'x'}, frames, ('few frames',), {'Car': 0.4}, {'figures': [1, 2.5]},
        {'predictions': {'path': 'p', 'sha256': 'y'}},
    )  # fmt: skip

    def check(found: Query) -> None:
        plain(found)
        assert isinstance(found.round, int)
        assert isinstance(found.seed, int)
        assert found.spent >= 0
        json.dumps(found.to_json(), allow_nan=False)
        for frame in found.frames:
            assert isinstance(frame.frame_id, str)
            assert isinstance(frame.relax_level, int)
            assert all(isinstance(count, int) for count in frame.predicted_boxes.values())

    return Reader('query', lambda at: Query.read(at / 'x.json'), [_written(query.write)], check)


def journal_reader() -> Reader:
    """Journals: ``journal.json`` with what a step reads."""
    from ssal3d.loop.journal import NAME, FinishedSteps, Journal

    reads = {'training': {'epochs': 2}, 'labels': ['a']}
    with tempfile.TemporaryDirectory() as name:
        journal = Journal(name)
        (Path(name) / 'initial').mkdir()
        (Path(name) / 'initial' / 'x.json').write_text('{}')
        journal.begin('initial', reads)
        journal.record('initial', reads, {'labels': Path(name) / 'initial' / 'x.json'}, seconds=1.5)
        files = _files(Path(name))

    def read(at: Path) -> Any:
        journal = Journal(at)
        FinishedSteps((at,)).find('initial', reads)
        return journal.begun('initial'), journal.find('initial', reads), journal.find('final', reads)

    targets = (NAME, 'reads/initial.json')
    return Reader('journal', read, [Example(target, files[target], 'json', files) for target in targets])


def _single(kind: pa.DataType) -> pa.DataType:
    """Return an Arrow type with float32 instead of float16."""
    if pa.types.is_list(kind):
        return pa.list_(_single(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_single(kind.value_type), kind.list_size)
    return pa.float32() if pa.types.is_float16(kind) else kind


def predictions_reader() -> Reader:
    """Predictions of a pool: Parquet files, damaged as bytes, in their columns and in their metadata."""
    from ssal3d.predictions import read_predictions
    from ssal3d.predictions.synthetic import synthetic_pool, write_predictions

    more = ('class_logits', 'box_features', 'num_points', 'mc_scores', 'predicted_loss')
    with tempfile.TemporaryDirectory() as name:
        write_predictions(synthetic_pool(3, classes=CLASSES, boxes_per_frame=2, width=2, rois=2, fields=more), name)
        (target, content), *_ = _files(Path(name)).items()
    table = pq.ParquetFile(io.BytesIO(content)).read()
    metadata = {key.decode(): json.loads(text) for key, text in table.schema.metadata.items() if key == b'ssal3d'}
    # Arrow below 21 makes no float16 of Python's numbers.
    singles = [field.with_type(_single(field.type)) for field in table.schema]
    readable = pa.schema(singles, table.schema.metadata)

    def with_columns(text: bytes) -> bytes:
        return _parquet(pa.Table.from_pydict(json.loads(text)).replace_schema_metadata(table.schema.metadata))

    def with_cast_columns(text: bytes) -> bytes:
        return _parquet(pa.Table.from_pydict(json.loads(text), schema=readable).cast(table.schema))

    def with_metadata(text: bytes) -> bytes:
        return _parquet(table.replace_schema_metadata({'ssal3d': text}))

    columns = json.dumps(table.to_pydict(), default=float).encode()  # float16 of Arrow below 21
    examples = [
        Example(target, content),
        Example(target, columns, 'json', build=with_cast_columns),
        Example(target, json.dumps(metadata['ssal3d']).encode(), 'json', build=with_metadata),
    ]

    def check(found: Any) -> None:
        assert len(found.boxes) == len(found.scores) == len(found.labels) == found.offsets[-1]
        assert np.isfinite(found.boxes).all()
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        assert len(set(found.frame_ids.tolist())) == len(found.frame_ids) == len(found.offsets) - 1
        assert all(isinstance(name, str) for name in found.classes)
        assert (np.diff(found.offsets) >= 0).all()
        plain(dict(found.metadata))
        # Samplers check the columns that they read: `ssal3d.active.functional.checks`.

    def read(at: Path) -> Any:
        return read_predictions(at, more)

    loose = Example(target, columns, 'json', build=with_columns)
    try:
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / target).write_bytes(with_columns(columns))
            read(Path(name))
        examples.append(loose)
    except Exception:  # noqa: S110 - types that Arrow guesses are refused: the strict example does for them
        pass
    return Reader('predictions', read, examples, check)


def bank_reader() -> Reader:
    """Generations of the box bank: ``CURRENT``, ``meta.json``, arrays."""
    from ssal3d.bank.box_bank import BoxBank
    from ssal3d.bank.generation import OBJECT, PREDICTION, Generation, frame_dtype

    frames = np.array([('a', True, 9, 1, 0, 0), ('b', False, 3, 2, 2, 0)], frame_dtype(1))
    objects = np.zeros(1, OBJECT)
    objects['n_pts'], objects['box'] = 4, (1, 2, 0, 4, 2, 1.5, 0.1)
    meta = {
        'schema': 1,
        'generation': 0,
        'parent': None,
        'classes': list(CLASSES),
        'tau': {'Car': 0.5, 'Pedestrian': None},
    }
    generation = Generation(
        objects, np.ones((4, 4), np.float32), frames, np.full(3, 255, np.uint8), np.zeros(2, PREDICTION), meta
    )
    with tempfile.TemporaryDirectory() as name:
        BoxBank(name).publish(generation)
        files = _files(Path(name))

    def read(at: Path) -> Any:
        found = BoxBank(at).open()
        found.tau  # noqa: B018 - computed
        masks = [found.keep_mask(name, 9 if name == 'a' else 3) for name in found.row_of_frame]
        return found, found.rows('Car', ['ground_truth']), masks, found.pred_offsets

    kinds = {'.json': 'json', '': 'text'}
    return Reader(
        'bank',
        read,
        [Example(name, data, kinds.get(Path(name).suffix, 'binary'), files) for name, data in files.items()],
    )


def score_calibration_reader() -> Reader:
    """Score calibrations."""
    from ssal3d.evaluation.score_calibration import Curve, ScoreCalibration

    curves = {'Car': Curve(temperature=1.5), 'Pedestrian': Curve((0.1, 0.5), (0.2, 0.7))}
    calibration = ScoreCalibration('isotonic', curves, {'Car': {'detections': 5}}, ('few',))

    def check(found: ScoreCalibration) -> None:
        scores = np.linspace(0, 1, 9)
        for curve in found.curves.values():
            mapped = curve(scores)
            assert ((mapped >= 0) & (mapped <= 1)).all(), 'scores out of range'
            assert (np.diff(mapped) >= 0).all(), 'scores out of order'

    def read(at: Path) -> ScoreCalibration:
        return ScoreCalibration.read(at / 'x.json')

    return Reader('score-calibration', read, [_written(calibration.write)], check)


def infos_reader() -> Reader:
    """Annotation files (infos), as pickle and as JSON, and what is computed from them."""
    from ssal3d.data.counts import annotated_counts
    from ssal3d.data.infos import frame_ids, read_infos
    from ssal3d.evaluation.annotated_boxes import read_annotated_boxes

    instance = {'bbox_3d': [5.0, 1, -1, 4, 2, 1.5, 0.1], 'bbox_label_3d': 0, 'bbox_label': 0, 'num_lidar_pts': 5}
    infos = {
        'metainfo': {'categories': {'Car': 0, 'Pedestrian': 1}, 'dataset': 'folder'},
        'data_list': [
            {'sample_idx': 0, 'lidar_points': {'lidar_path': 'a.bin', 'num_pts_feats': 4}, 'instances': [instance]},
            {'sample_idx': 1, 'lidar_points': {'lidar_path': 'b.bin', 'num_pts_feats': 4}, 'instances': []},
            {'sample_idx': 2, 'lidar_points': {'lidar_path': 'c.bin', 'num_pts_feats': 4}},
        ],
    }

    def read(at: Path) -> Any:
        path = next(at.iterdir())
        found = read_infos(path)
        counts = annotated_counts(found, CLASSES)
        counts = {**counts, **annotated_counts(found, CLASSES, 'nonempty')}
        boxes = read_annotated_boxes(path, list(counts), CLASSES)
        return frame_ids(found, path), counts, boxes

    def check(found: Any) -> None:
        names, counts, boxes = found
        assert all(isinstance(name, str) and '/' not in name for name in names)
        plain((counts, boxes))

    text = json.dumps(infos).encode()
    arrays = json.loads(text)
    arrays['data_list'][0]['instances'][0]['bbox_3d'] = np.array(instance['bbox_3d'])
    examples = [
        Example('x.pkl', pickle.dumps(infos, protocol=4)),
        Example('x.pkl', pickle.dumps(arrays, protocol=2)),
        Example('x.pkl', text, 'json', build=lambda content: pickle.dumps(json.loads(content))),
        Example('x.json', text, 'json'),
    ]
    return Reader('infos', read, examples, check)


def export_reader() -> Reader:
    """What an export says about itself: ``ssal3d_export.json``."""
    from ssal3d.annotation.model import Cuboid
    from ssal3d.annotation.provenance import NAME, Export, ExportedFrame

    cuboid = Cuboid('Car', (5.0, 1.0, -1.0, 4.0, 2.0, 1.5, 0.1), '1', score=0.5)
    export = Export(
        *('json', {}, 'round_1', '2026-01-01T00:00:00.000Z', 1, CLASSES, {}),
        {'a': ExportedFrame('a', (cuboid,), 'a.bin', 4, 10, 'x', {'rank': 0})},
        {'name': 'train', 'size': 3, 'sha256': 'x'},
    )

    def check(found: Export) -> None:
        plain(found)
        assert isinstance(found.round, int)
        assert all(isinstance(name, str) for name in found.classes)
        found.prelabels_of_class()
        for frame in found.frames.values():
            assert frame.load_dim > 2
            assert all(len(box.box) == 7 for box in frame.prelabels)
            assert '/' not in frame.frame_id
            assert frame.frame_id not in ('', '.', '..')

    with tempfile.TemporaryDirectory() as name:
        export.write(Path(name))
        content = (Path(name) / NAME).read_bytes()
    return Reader('export', Export.read, [Example(NAME, content, 'json')], check)


def manifest_reader() -> Reader:
    """What converters and readers of counts keep as JSON."""
    from ssal3d.cli.select import read_by_frame
    from ssal3d.data.conversion import Manifest

    with tempfile.TemporaryDirectory() as name:
        manifest = Manifest(Path(name) / 'x.json', {'training/a': {'points': 5, 'kept': 4, 'not_finite': 0}})
        manifest.write()
        content = (Path(name) / 'x.json').read_bytes()

    def read(at: Path) -> Any:
        return Manifest.read(at / 'x.json').records, read_by_frame(str(at / 'x.json'))

    def check(found: Any) -> None:
        assert isinstance(found[0], dict)
        assert all(isinstance(record, dict) for record in found[0].values())
        plain(found)

    return Reader('manifest', read, [Example('x.json', content, 'json')], check)


def experiment_reader() -> Reader:
    """What the report reads of an experiment: journal, card, metrics."""
    from ssal3d.report.experiment import CARD, RECORD, read_experiment

    card = {'schema': 1, 'classes': list(CLASSES), 'pool': {'data_root': 'd', 'ann_file': 'x.pkl', 'points': 'p'}}
    steps = {'schema': 1, 'steps': [{'step': 'initial', 'labels': 'labels/round_0.json', 'files': {}}]}
    files = {CARD: json.dumps(card).encode(), RECORD: json.dumps(steps).encode()}

    def read(at: Path) -> Any:
        found = read_experiment(at)
        return found.card, found.steps

    return Reader('experiment', read, [Example(name, data, 'json', files) for name, data in files.items()])


def _written(write: Callable[[Path], None]) -> Example:
    """Return what a function writes as the example ``x.json``."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / 'x.json'
        write(path)
        return Example('x.json', path.read_bytes(), 'json')


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and not path.name.startswith('.')
    }


def _parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


READERS = (
    *(
        labels_reader,
        query_reader,
        journal_reader,
        predictions_reader,
        bank_reader,
        score_calibration_reader,
        infos_reader,
    ),
    *(export_reader, manifest_reader, experiment_reader),
)
