import numpy as np
import pytest

from ssal3d.bank.annotations import LabelledObjects
from ssal3d.errors import UserError
from tests.helpers.cpsp_builders import box

PLACES = [box(10, 5), box(20, -5), box(30, 0)]


def test_labelled_objects_from_frames():
    labelled = LabelledObjects.from_frames([
        ('b', [PLACES[0], PLACES[1]], ['Van', 'Cyclist'], [True, False]),
        ('a', [PLACES[2]], ['Car']),
        ('c', np.zeros((0, 7)), []),
    ])  # fmt: skip
    assert labelled.frame_ids.tolist() == ['a', 'b', 'c']
    assert labelled.offsets.tolist() == [0, 1, 3, 3]
    table = labelled.table(('Cyclist', 'Car'))
    assert table['label'].tolist() == [1, -1, 0]
    assert table['usable'].tolist() == [True, True, False]
    assert len(LabelledObjects.from_frames([]).boxes) == 0


@pytest.mark.parametrize(
    ('frames', 'message'),
    [
        ([('a', [PLACES[0]], ['Car', 'Car'])], 'frame a has 1 annotated boxes but 2 names'),
        ([('a', [PLACES[0]], ['Car']), ('a', [PLACES[0]], ['Car'])], 'frame a is annotated twice'),
        ([('a', [PLACES[0] * np.nan], ['Car'])], 'frame a has an annotated box that is not finite'),
    ],
)
def test_mistakes_in_annotations_are_named(frames, message):
    with pytest.raises(UserError, match=message):
        LabelledObjects.from_frames(frames)
