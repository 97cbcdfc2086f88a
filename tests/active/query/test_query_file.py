import json

import pytest

from ssal3d.active.query.query_file import Query, SelectedFrame
from ssal3d.active.query.report import class_facts, spending
from ssal3d.active.query.settings import QuerySettings
from ssal3d.errors import UserError

FRAMES = (
    SelectedFrame('000007', 0.91, 0.0, {'Car': 2, 'Cyclist': 0}, {'Car': 3, 'Cyclist': 0}, 0),
    SelectedFrame('000003', None, None, {'Car': 0, 'Cyclist': 0}, {'Car': 0, 'Cyclist': 0}, 10),
)


def make_query(**changes) -> Query:
    values = {
        'round': 2,
        'sampler': {'type': 'CALSampler', 't_sim': 0.9},
        'seed': 4,
        'settings': QuerySettings(5, cost_score={'Car': 0.4, 'Cyclist': 0.2}),
        'spent': 3,
        'spent_per_class': {'Car': 3, 'Cyclist': 0},
        'cost': 'annotated',
        'stopped': 'pool_exhausted',
        'pool': {'name': 'p', 'size': 9, 'sha256': 'x'},
        'frames': FRAMES,
        'warnings': ('short',),
        'counted_above': {'Car': 0.4, 'Cyclist': 0.2},
        'diagnostics': {'classes': {'Car': {'limit': 3.0, 'counted': 2}}},
        'inputs': {'predictions': {'path': 'p', 'sha256': 'x', 'checkpoint_sha256': 'y'}},
    }
    return Query(**{**values, **changes})


def test_file_follows_the_contract_and_round_trips(tmp_path):
    query = make_query()
    query.write(tmp_path / 'query.json')
    content = json.loads((tmp_path / 'query.json').read_text())
    contract = [
        'schema',
        'round',
        'sampler',
        'seed',
        'budget',
        'unit',
        'spent',
        'spent_per_class',
        'cost',
        'stopped',
        'frames',
        'warnings',
    ]
    assert set(contract) <= set(content)
    assert (content['schema'], content['unit'], content['shortfall']) == (1, 'boxes', 2)
    assert content['frames'][0] == {
        'rank': 0,
        'frame_id': '000007',
        'utility': 0.91,
        'similarity': 0.0,
        'predicted_boxes': {'Car': 2, 'Cyclist': 0},
        'annotated_boxes': {'Car': 3, 'Cyclist': 0},
        'relax_level': 0,
    }
    assert Query.read(tmp_path / 'query.json') == query


def test_shortfall_and_purchases():
    assert make_query(stopped='budget', spent=6).shortfall == 0
    assert make_query(stopped='budget').shortfall == 0  # refused the crossing frame
    assert make_query().frame_ids == ('000007', '000003')
    assert make_query().purchases == [('000007', {'Car': 3, 'Cyclist': 0}), ('000003', {'Car': 0, 'Cyclist': 0})]
    unlabelled = SelectedFrame('000001', 1.0, 0.0, {'Car': 1}, None, 0)
    with pytest.raises(UserError, match='frame 000001 has no annotated boxes'):
        _ = make_query(frames=(unlabelled,)).purchases


def test_a_file_with_the_required_keys_only_is_read(tmp_path):
    make_query().write(tmp_path / 'query.json')
    content = json.loads((tmp_path / 'query.json').read_text())
    contract = ('round', 'sampler', 'seed', 'budget', 'unit', 'spent', 'spent_per_class', 'cost', 'stopped', 'warnings')
    for key in set(content) - {'schema', *contract, 'frames'}:
        del content[key]
    content['frames'] = [{'frame_id': 'a', 'predicted_boxes': {'Car': 1}, 'note': 'extra keys are allowed'}]
    (tmp_path / 'query.json').write_text(json.dumps(content))
    query = Query.read(tmp_path / 'query.json')
    assert query.frames == (SelectedFrame('a', None, None, {'Car': 1}, None, 0),)
    assert (query.settings, query.pool) == (QuerySettings(5), {})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.pop('frames'), "missing key 'frames'"),
        (lambda c: c.update(schema=2), 'found schema 2, expected 1'),
        (lambda c: c.update(unit='miles'), "query.json: unknown value of unit 'miles'"),
        (lambda c: c.update(stopped='tired'), "stopped='tired'"),
        (lambda c: c['frames'].append(c['frames'][0]), 'frame 000007 is listed twice'),
        (lambda c: c['frames'].append({'frame': 1}), 'found the frame entry'),
        (lambda c: c['frames'][1]['annotated_boxes'].update(Car=-1), "frame 000003 has -1 'Car' in annotated_boxes"),
    ],
)
def test_malformed_files_are_named(tmp_path, change, message):
    make_query().write(tmp_path / 'query.json')
    content = json.loads((tmp_path / 'query.json').read_text())
    change(content)
    (tmp_path / 'query.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        Query.read(tmp_path / 'query.json')


def test_other_units_round_trip_and_are_told(tmp_path):
    query = make_query(settings=QuerySettings(30, unit={'frame': 5, 'box': 1.5}), spent=14.5)
    query.write(tmp_path / 'query.json')
    assert json.loads((tmp_path / 'query.json').read_text())['unit'] == {'frame': 5, 'box': 1.5}
    assert Query.read(tmp_path / 'query.json') == query
    assert query.shortfall == 15.5
    assert spending(query) == '14.5 of 30 units of cost (frame 5, box 1.5), 3 annotated boxes'
    assert spending(make_query()) == '3 of 5 annotated boxes'
    assert spending(make_query(settings=QuerySettings(5, unit='frames'), spent=2)) == '2 of 5 frames, 3 annotated boxes'


def test_classes_that_do_not_count_or_filled_their_counter_are_told():
    known = {'limit': 9.0, 'counted': 9, 'full': True, 'counts': True, 'precision': 0.8, 'labelled_boxes': 40}
    classes = {
        'Car': known,
        'Van': {**known, 'precision': None, 'labelled_boxes': 3},
        'Tram': {**known, 'counted': 0, 'full': False, 'counts': False, 'precision': 0.1},
        'Cyclist': {**known, 'limit': None},
        'Person': {**known, 'full': False},
        'Truck': {**known, 's_obj': 0.4375},
    }
    assert list(class_facts(make_query(diagnostics={'classes': classes}))) == [
        'Car: limit of 9 reached with 9 counted boxes; 80% of 40 predicted boxes are there on labelled frames',
        'Van: limit of 9 reached with 9 counted boxes; how many are real is not known: too few predictions of labelled '
        'frames',
        'Tram: predicted boxes do not fill the class counter, only 10% of 40 predicted boxes are there on labelled frames',
        'Truck: limit of 9 reached with 9 counted boxes; 80% of 40 predicted boxes above 0.44 are there on labelled frames',
    ]
