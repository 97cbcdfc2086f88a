"""How long people worked, from the times that a tool records."""

import json

from ssal3d.annotation.store import report
from ssal3d.annotation.times import working_time


def test_pauses_are_no_work():
    stamps = [f'2026-03-01T10:{minute:02d}:00.000Z' for minute in (0, 1, 3, 30, 31)]
    assert working_time(stamps[::-1]) == 60 + 120 + 60
    assert working_time(stamps[:1]) is None
    assert working_time(['', 'yesterday', *stamps[:2]]) == 60


def test_an_import_reports_the_times_of_edited_boxes_alone(batch):
    folder, _ = batch.write('sly')
    assert report(batch.read(folder), 1)['seconds'] is None, 'the stamps of the export are no work'
    paths = sorted(folder.glob('*/ann/*.json'))
    for number, path in enumerate(paths):
        content = json.loads(path.read_text())
        for figure in content['figures'][:1]:
            figure['updatedAt'] = f'2026-03-01T10:0{number}:00.000Z'
        path.write_text(json.dumps(content))
    edited = sum(bool(frame) for frame in batch.prelabels.values())
    labels = batch.read(folder)
    assert labels.seconds is not None
    assert 60 * (edited - 1) <= labels.seconds <= 60 * (len(paths) - 1)
