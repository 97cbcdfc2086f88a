"""Values of wrong types, in files and in configs, are named with their place."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import pytest

from ssal3d.active.query.query_file import Query
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.evaluation.score_calibration import ScoreCalibration
from ssal3d.fileio import read_json
from ssal3d.typed import check_fields, check_value, fits, record
from tests.helpers.wrong_types import with_wrong_types

STATE = {
    'schema': 1,
    'classes': ['Car', 'Cyclist'],
    'pool': {'name': 'train', 'size': 20, 'sha256': '0' * 64},
    'frames': [
        {'frame_id': '000003', 'round': 0, 'boxes': {'Car': 3}},
        {'frame_id': '000004', 'round': 1, 'boxes': {'Car': 0, 'Cyclist': 2}},
    ],
}
QUERY = {
    'schema': 1,
    'round': 1,
    'sampler': {'type': 'CALSampler'},
    'seed': 0,
    'budget': 5,
    'spent': 3.5,
    'spent_per_class': {'Car': 3},
    'cost': 'predicted',
    'stopped': 'budget',
    'pool': {'name': 'train'},
    'counted_above': {'Car': 0.25},
    'frames': [
        {
            'frame_id': '000003',
            'utility': 0.5,
            'similarity': 0.25,
            'predicted_boxes': {'Car': 3},
            'annotated_boxes': {'Car': 2},
            'relax_level': 0,
        }
    ],
    'warnings': ['CAL: relaxed'],
}
CURVES = {
    'schema': 1,
    'method': 'isotonic',
    'classes': {'Car': {'x': [0.0, 1.0], 'y': [0.25, 0.75]}, 'Cyclist': {'temperature': 1.5}},
    'warnings': ['too few'],
}
READERS = {
    'label state': (LabelState.read, STATE, ()),
    'query': (Query.read, QUERY, ('frames.0.utility', 'frames.0.similarity', 'frames.0.annotated_boxes')),
    'calibration': (ScoreCalibration.read, CURVES, ('classes.Cyclist.temperature',)),
}


@pytest.mark.parametrize('name', READERS)
def test_a_value_of_a_wrong_type_anywhere_is_one_line(tmp_path, name):
    read, content, nullable = READERS[name]
    path = tmp_path / 'content.json'
    path.write_text(json.dumps(content))
    read(path)
    count = 0
    for place, value, changed in with_wrong_types(content):
        if value is None and place in nullable:
            continue
        path.write_text(json.dumps(changed))
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value).startswith(f'{path}: '), (place, value)
        count += 1
    assert count > 100


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c['frames'][0].update(frame_id=3), r'frames\.0\.frame_id: found 3, expected text'),
        (
            lambda c: c['frames'][1].update(round='1'),
            r"frames\.1 \(frame 000004\)\.round: found '1', expected a whole number",
        ),
        (lambda c: c['frames'][0].update(boxes=['Car']), r'frames\.0 \(frame 000003\)\.boxes: .*expected an object'),
        (lambda c: c['frames'][0]['boxes'].update(Car=3.0), r'boxes\.Car: found 3\.0, expected a whole number'),
        (lambda c: c['frames'][0]['boxes'].update(Car=-1), r"frame 000003 has -1 boxes of 'Car', expected 0 or more"),
        (lambda c: c['frames'][0].update(round=-1), r"found frame '000003' of round -1"),
        (lambda c: c.update(frames={'000003': {'Car': 1}}), r'frames: found .* expected a list'),
        (lambda c: c.update(classes='Car'), r"classes: found 'Car', expected a list"),
        (lambda c: c.update(pool='mine'), r"pool: found 'mine', expected an object"),
        (lambda c: c['pool'].update(size=1), r'2 frames are labelled, but the pool has the size 1'),
        (lambda c: c['frames'].append(c['frames'][0]), r'frame 000003 is listed twice'),
    ],
)
def test_mistakes_in_a_label_state_edited_by_hand_name_the_place(tmp_path, change, message):
    content = json.loads(json.dumps(STATE))
    change(content)
    (tmp_path / 'labels.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        LabelState.read(tmp_path / 'labels.json')


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    (tmp_path / 'labels.json').write_bytes(b'\xef\xbb\xbf' + json.dumps(STATE).encode())
    assert LabelState.read(tmp_path / 'labels.json').counts == {'Car': 3, 'Cyclist': 2}


class Known(TypedDict):
    a: float
    b: str


def test_keys_that_nobody_names_may_hold_anything():
    check_value({'a': 1, 'c': object()}, Known, 'file')
    check_value({'a': 1.5}, Known, 'file')
    with pytest.raises(UserError, match=r'^file: b: found 1, expected text'):
        check_value({'a': 1, 'b': 1}, Known, 'file')


@pytest.mark.parametrize(
    ('value', 'annotation', 'right'),
    [
        (3, int, True),
        (3.0, int, False),
        (True, int, False),
        (3, float, True),
        (True, float, False),
        (float('inf'), float, True),
        (float('nan'), float, False),
        (10**30, float, False),
        ('x', str, True),
        (None, int | None, True),
        ('x', int | None, False),
        ([1, 2], tuple[int, ...], True),
        ([1, 'x'], Sequence[int], False),
        ((1, 'x'), tuple[int, str], True),
        ((1,), tuple[int, str], False),
        ('x', Sequence[str], False),
        ({'a': 1}, Mapping[str, int], True),
        ({1: 1}, Mapping[str, int], False),
        ({'a': {'b': None}}, Mapping[str, Mapping[str, int]], False),
        ('a', Literal['a', 'b'], True),
        ('c', Literal['a', 'b'], False),
        (object(), np.ndarray, True),
    ],
)
def test_values_are_compared_with_annotations(value, annotation, right):
    assert fits(value, annotation) is right


@dataclass
class Entry:
    name: str
    sizes: tuple[float, ...] = ()


def test_a_record_is_built_of_values_that_fit():
    assert record(Entry, {'name': 'a', 'sizes': [1, 2.5]}, 'x.json').sizes == [1, 2.5]
    with pytest.raises(UserError, match=r"^x\.json: sizes\.1: found 'b', expected a number$"):
        record(Entry, {'name': 'a', 'sizes': [1, 'b']}, 'x.json')


class Option:
    def __init__(self, budget: float, unit: str | Mapping[str, float] = 'boxes', anything=None) -> None:
        self.budget = budget


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'budget': '5'}, r"budget: found '5', expected a number"),
        ({'budget': 5, 'unit': 3}, r'unit: found 3, expected text or an object'),
        ({'budget': 5, 'unit': {'box': 'x'}}, r"unit\.box: found 'x', expected a number"),
    ],
)
def test_options_are_compared_with_the_arguments_that_take_them(options, message):
    with pytest.raises(UserError, match=message):
        check_fields(Option, options, 'Option')
    check_fields(Option, {'budget': 5, 'anything': object(), 'else': 1}, 'Option')


def test_options_of_registered_classes_are_checked():
    from ssal3d.registry import ACTIVE_SAMPLERS

    with pytest.raises(UserError, match=r"^CALSampler: t_sim: found 'low', expected a number"):
        ACTIVE_SAMPLERS.build({'type': 'CALSampler', 't_sim': 'low'})
    with pytest.raises(UserError, match='expected a name or a class'):
        ACTIVE_SAMPLERS.build({'type': 5})


def test_json_that_no_file_should_hold_is_refused(tmp_path):
    path = tmp_path / 'x.json'
    for text in ('[' * 5000, '1' * 5000, '[NaN]', '[1e999]', '[-Infinity]', '["\\ud800"]', '{"\\udfff": 1}'):
        path.write_text(text)
        with pytest.raises(UserError, match=r'x\.json: not valid JSON'):
            read_json(path, schema=False)
    path.write_text('["\\ud83d\\ude00", 1e308]')
    assert read_json(path, schema=False) == ['\U0001f600', 1e308]
