from math import pi

import pytest

from ssal3d.annotation import Cuboid, LabelFrame
from ssal3d.annotation.comparison import compare
from ssal3d.annotation.format import Tolerance
from ssal3d.annotation.fronts import elongated_classes, turned_fronts
from ssal3d.annotation.provenance import Export, ExportedFrame
from ssal3d.errors import UserError

ALONG, ACROSS = (10.0, 2.0, -1.0, 4.2, 1.8, 1.5, 0.3), (10.1, 2.0, -1.0, 1.8, 4.2, 1.5, 0.3 - pi / 2)
CLASSES = {'Car': True, 'Pedestrian': False}


def turned(cuboid, prelabel=None, front='auto', elongated=CLASSES):
    """Return the box after a person drew or edited it, the number of turned ones and the classes left open."""
    prelabels = (prelabel,) if prelabel else ()
    frame = LabelFrame('a', (cuboid,))
    comparison = compare(prelabels, frame.cuboids, Tolerance())
    assert comparison.partners == ((0,) if prelabel else (-1,))
    frame, count, left = turned_fronts(frame, comparison, prelabels, elongated, front)
    return frame.cuboids[0].box, count, left


@pytest.mark.parametrize('front', ['auto', '+y'])
def test_a_box_that_was_drawn_across_in_the_place_of_its_prelabel_is_turned(front):
    """Tools that drop ids (CVAT) hand it back as if the pre-label had been edited."""
    box, count, _ = turned(Cuboid('Car', ACROSS), Cuboid('Car', ALONG, '1'), front)
    assert box == pytest.approx((10.1, 2.0, -1.0, 4.2, 1.8, 1.5, 0.3))
    assert count == 1
    assert turned(Cuboid('Car', ACROSS), Cuboid('Car', ALONG, '1'), '+x') == (ACROSS, 0, [])


@pytest.mark.parametrize('front', ['auto', '+y'])
@pytest.mark.parametrize(
    ('cuboid', 'prelabel'),
    [
        (Cuboid('Car', ACROSS, '1'), Cuboid('Car', ALONG, '1')),
        (Cuboid('Car', (*ALONG[:3], 4.4, 1.9, 1.5, 0.2)), Cuboid('Car', ALONG, '1')),
        (Cuboid('Car', ACROSS), Cuboid('Car', ACROSS, '1')),
        (Cuboid('Car', (*ALONG[:3], 0.62, 0.6, 1.7, 0.3)), Cuboid('Car', (*ALONG[:3], 0.6, 0.61, 1.7, 0.3), '1')),
    ],
    ids=['by_id', 'edited', 'prelabel_across', 'about_square'],
)
def test_prelabels_keep_their_arrow(cuboid, prelabel, front):
    assert turned(cuboid, prelabel, front) == (cuboid.box, 0, [])


def test_classes_of_which_nothing_tells_are_left_and_named():
    forklift = Cuboid('forklift', ACROSS)
    assert turned(forklift) == (ACROSS, 0, ['forklift'])
    assert turned(Cuboid('forklift', ALONG)) == (ALONG, 0, [])
    assert turned(Cuboid('Pedestrian', ACROSS)) == (ACROSS, 0, [])  # pre-labels tell that it may be so
    assert turned(forklift, front='+x') == (ACROSS, 0, [])
    assert turned(forklift, front='+y')[1:] == (1, [])
    with pytest.raises(UserError, match="unknown front 'y'"):
        turned(forklift, front='y')


def export_of(classes, *prelabels):
    frames = {'a': ExportedFrame('a', prelabels, '')}
    return Export('sly', {}, 'round_1', '', 1, classes, {}, frames, {})


def test_elongated_classes_are_known_by_their_prelabels_else_by_their_name():
    def boxes(name, *ratios):
        return [Cuboid(name, (0.0, 0, 0, ratio, 1, 1, 0)) for ratio in ratios]

    classes = ('Car', 'Bus', 'cone', 'forklift', 'gate', 'Van')
    found = [*boxes('Car', 0.4, 0.5), *boxes('Bus', 0.9, 0.9, 4), *boxes('cone', 1, 1.1, 1.2)]
    found += [*boxes('forklift', 1.1, 2.0, 2.5), *boxes('gate', 0.1, 0.1)]
    assert elongated_classes(export_of(classes, *found)) == {
        'Car': True, 'Bus': False, 'cone': False, 'forklift': True, 'Van': True,
    }  # fmt: skip
