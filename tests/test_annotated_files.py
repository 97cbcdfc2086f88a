"""Values of wrong types in JSON files are named with file and key."""

import json

import pytest

from ssal3d.active.query.query_file import Query
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.evaluation.score_calibration import ScoreCalibration
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
        (lambda c: c['frames'][0].update(frame_id=3), r'a frame entry: frame_id: found 3, expected text'),
        (
            lambda c: c['frames'][1].update(round='1'),
            r"frame 000004: round: found '1', expected a whole number",
        ),
        (lambda c: c['frames'][0].update(boxes=['Car']), r'frame 000003: boxes: .*expected names with values'),
        (lambda c: c['frames'][0]['boxes'].update(Car=3.0), r'frame 000003: boxes: .*each a whole number'),
        (lambda c: c['frames'][0]['boxes'].update(Car=-1), r"frame 000003 has -1 boxes of 'Car', expected 0 or more"),
        (lambda c: c['frames'][0].update(round=-1), r"found frame '000003' of round -1"),
        (lambda c: c.update(frames={'000003': {'Car': 1}}), r'frames: found .* expected a list'),
        (lambda c: c.update(classes='Car'), r"classes: found 'Car', expected a list"),
        (lambda c: c.update(pool='mine'), r"pool: found 'mine', expected names with values"),
        (lambda c: c['pool'].update(size=1), r'found a pool of 1 frames, expected at least the 2 labelled'),
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
