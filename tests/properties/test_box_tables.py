"""Tables of boxes: what is taken, put together or written and read is what was there."""

import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ssal3d.active.query.query_file import Query, SelectedFrame
from ssal3d.active.query.settings import QuerySettings
from ssal3d.data.label_state import LabelState
from ssal3d.evaluation.lidar_ap import FrameBoxes
from ssal3d.predictions import PoolPredictions, PredictionWriter, read_predictions
from ssal3d.predictions.table import Ragged
from tests.properties.strategies import CLASSES, SCENES

IDS = st.text('abcXYZ0189_.-é ', min_size=1, max_size=8)


@st.composite
def pools(draw):
    """Predictions with a column of every layout."""
    scene = draw(SCENES)
    ids = sorted(draw(st.lists(IDS, min_size=len(scene), max_size=len(scene), unique=True)))
    rows = [row for frame in scene for row in frame]
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    ragged = rng.integers(0, 4, len(scene))
    return PoolPredictions(
        frame_ids=np.array(ids),
        offsets=np.concatenate(([0], np.cumsum([len(frame) for frame in scene]))),
        boxes=np.array([box for box, _ in rows], np.float32).reshape(-1, 7),
        scores=rng.random(len(rows)).astype(np.float32),
        labels=np.array([label for _, label in rows], np.int16),
        classes=CLASSES,
        fields={
            'box_features': rng.normal(size=(len(rows), 3)).astype(np.float16),
            'gradient': rng.normal(size=(len(scene), 2)).astype(np.float32),
            'mc_scores': Ragged(rng.random(ragged.sum()).astype(np.float32), np.append(0, ragged.cumsum())),
        },
    )


def frame_of(pool, frame):
    """Everything that a pool says about one frame."""
    part = pool.boxes_of(frame)
    per_box = [column[part].tolist() for column in (pool.boxes, pool.scores, pool.labels, pool['box_features'])]
    return pool.frame_ids[frame], *per_box, pool['gradient'][frame].tolist(), pool['mc_scores'].of(frame).tolist()


def rows_of(pool, frame):
    """One frame as a writer takes it."""
    part = pool.boxes_of(frame)
    return {
        'bboxes_3d': pool.boxes[part],
        'scores_3d': pool.scores[part],
        'labels_3d': pool.labels[part],
        'box_features': pool['box_features'][part],
        'gradient': pool['gradient'][frame],
        'mc_scores': pool['mc_scores'].of(frame),
    }


@given(pool=pools(), data=st.data())
def test_taking_frames_takes_all_that_belongs_to_them(pool, data):
    chosen = np.array(sorted(data.draw(st.sets(st.integers(0, len(pool) - 1)))), dtype=np.int64)
    part = pool.take(chosen)
    assert [frame_of(part, place) for place in range(len(part))] == [frame_of(pool, frame) for frame in chosen]
    again = data.draw(st.lists(st.booleans(), min_size=len(chosen), max_size=len(chosen)))
    kept = np.flatnonzero(again)
    assert [frame_of(part.take(kept), place) for place in range(len(kept))] == [
        frame_of(pool.take(chosen[kept]), place) for place in range(len(kept))
    ]


@settings(max_examples=25)
@given(pool=pools(), data=st.data())
def test_predictions_come_back_from_parquet_whatever_the_order_and_the_parts(pool, data):
    order = data.draw(st.permutations(range(len(pool))))
    with tempfile.TemporaryDirectory() as folder:
        columns = ('box_features', 'gradient', 'mc_scores')
        with PredictionWriter(folder, CLASSES, columns, frames_per_part=data.draw(st.integers(1, 3))) as writer:
            for frame in order:
                writer.add(str(pool.frame_ids[frame]), **rows_of(pool, frame))
        found = read_predictions(folder, columns)
    assert found.classes == CLASSES
    assert [frame_of(found, frame) for frame in range(len(found))] == [
        frame_of(pool, frame) for frame in range(len(pool))
    ]
    for name, dtype in (('boxes', np.float32), ('scores', np.float32), ('labels', np.int16)):
        assert getattr(found, name).dtype == dtype


TABLES = st.lists(st.integers(0, 6), min_size=1, max_size=4)


@given(sizes=TABLES, seed=st.integers(0, 10**6), data=st.data())
def test_tables_put_together_are_their_rows_one_after_the_other(sizes, seed, data):
    rng = np.random.default_rng(seed)
    parts = [
        FrameBoxes(rng.normal(size=(n, 7)), *rng.integers(0, 9, (3, n)), rng.random(n)) for n in sizes
    ]  # boxes, labels, frames, points, scores
    whole = FrameBoxes.concatenated(parts)
    assert len(whole) == sum(sizes)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(whole), max_size=len(whole))), dtype=bool)
    edges = np.cumsum(sizes)[:-1]
    filtered = FrameBoxes.concatenated([part[mask] for part, mask in zip(parts, np.split(kept, edges))])
    for field in fields(FrameBoxes):
        np.testing.assert_array_equal(getattr(filtered, field.name), getattr(whole[kept], field.name))


COUNTS = st.fixed_dictionaries({name: st.integers(0, 50) for name in CLASSES})


@given(pool=st.lists(IDS, min_size=1, max_size=8, unique=True), data=st.data())
def test_label_states_come_back_from_json(pool, data):
    state = LabelState.empty(CLASSES, data.draw(st.text(max_size=9)), pool)
    bought = data.draw(st.permutations(pool))[: data.draw(st.integers(0, len(pool)))]
    for number, frame_id in enumerate(bought):
        state = state.buy(number // 2, [(frame_id, data.draw(COUNTS))])
    with tempfile.TemporaryDirectory() as folder:
        state.write(Path(folder) / 'labels.json')
        assert LabelState.read(Path(folder) / 'labels.json') == state
    assert state.counts == {name: sum(frame.boxes[name] for frame in state.frames) for name in CLASSES}


@given(ids=st.lists(IDS, max_size=5, unique=True), data=st.data())
def test_queries_come_back_from_json(ids, data):
    real = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
    frames = tuple(
        SelectedFrame(
            frame_id,
            data.draw(real),
            data.draw(real),
            data.draw(COUNTS),
            data.draw(st.one_of(st.none(), COUNTS)),
            data.draw(st.integers(0, 3)),
        )
        for frame_id in ids
    )
    query = Query(
        round=data.draw(st.integers(0, 9)),
        sampler={'type': 'RandomSampler'},
        seed=data.draw(st.integers(0, 2**32)),
        settings=QuerySettings(
            budget=data.draw(st.integers(0, 500)), unit=data.draw(st.sampled_from(('boxes', 'frames')))
        ),
        spent=data.draw(st.integers(0, 900)),
        spent_per_class=data.draw(COUNTS),
        cost='annotated',
        stopped=data.draw(st.sampled_from(('budget', 'pool_exhausted'))),
        pool={'name': 'made up', 'size': len(ids), 'sha256': '0'},
        frames=frames,
        warnings=tuple(data.draw(st.lists(st.text(max_size=20), max_size=2))),
    )
    with tempfile.TemporaryDirectory() as folder:
        query.write(Path(folder) / 'query.json')
        assert Query.read(Path(folder) / 'query.json') == query
