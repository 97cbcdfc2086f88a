"""Labels and detections that cannot be evaluated are refused or named; nothing scores 0 for another reason."""

import numpy as np
import pytest

from ssal3d.data.kitti_objects import concatenate, parse_objects, read_frames
from ssal3d.errors import UserError
from ssal3d.evaluation.kitti_ap import evaluate_kitti, without_image_boxes

SIZES = {'Car': '1.5 1.6 3.9', 'Pedestrian': '1.75 0.6 0.8', 'Cyclist': '1.7 0.6 1.8'}


def line(name, place, score=None, *, bbox='100 100 160 200', sizes=None, where=None):
    spot = f'{6 * place} 1.7 20' if where is None else where
    text = f'{name} 0 0 0 {bbox} {sizes or SIZES.get(name, "1.5 1.6 3.9")} {spot} 0.3'
    return text if score is None else f'{text} {score}'


def frames(*lines):
    return concatenate([parse_objects('\n'.join(lines), 'frame')])


TRUTH = [line(name, place) for place, name in enumerate(['Car'] * 4 + ['Pedestrian'] * 3 + ['Cyclist'] * 3)]


def found(**changes):
    """The ground truth as detections, with some words replaced."""
    lines = [f'{row} 0.9' for row in TRUTH]
    for old, new in changes.items():
        lines = [row.replace(old, new) for row in lines]
    return frames(*lines)


def ap(truth, detections, **options):
    return evaluate_kitti(truth, detections, small_sets=True, **options)


# ---------------------------------------------------------------- names


def test_unknown_classes_are_named_with_the_one_that_is_meant():
    with pytest.raises(
        UserError,
        match=r"unknown class 'person' \(3 boxes\), 'Bicycle' \(3 boxes\), expected one of Car, Pedestrian, Cyclist; rename "
        r"them, did you mean 'Pedestrian' for 'person', 'Cyclist' for 'Bicycle'\?",
    ):
        ap(frames(*TRUTH), found(Pedestrian='person', Cyclist='Bicycle'))
    with pytest.raises(UserError, match=r"'Vehicle' \(4 boxes\).*did you mean 'Car'"):
        ap(frames(*TRUTH), found(Car='Vehicle'))
    with pytest.raises(UserError, match=r"'xyz' \(4 boxes\).*rename it or remove the boxes"):
        ap(frames(*TRUTH), found(Car='xyz'))


def test_other_classes_of_kitti_and_of_the_labels_are_known():
    assert ap(frames(*TRUTH), found(Car='Truck'))['Pedestrian']['3d']['R40']['easy'] == 100
    own = [row.replace('Car', 'Bus') for row in TRUTH]
    assert ap(frames(*own), found(Car='Bus'))['Pedestrian']['3d']['R40']['easy'] == 100
    assert ap(frames(*TRUTH), found(Car='CAR'))['Car']['3d']['R40']['easy'] == 100, 'KITTI ignores case'


def test_a_class_without_detections_is_said():
    result = ap(frames(*TRUTH), frames(*[f'{row} 0.9' for row in TRUTH if not row.startswith('Car')]))
    assert result['Car']['3d']['R40']['easy'] == 0
    assert 'Car: no detection is of this class' in result['warnings']


# ---------------------------------------------------------------- image boxes


def test_missing_image_boxes_are_counted():
    lines = [line('Car', place, 0.9) for place in range(10)]
    truth = [line('Car', place) for place in range(10)]
    for missing in ('-1 -1 -1 -1', '0 0 0 0', '5 7 90 7'):
        some = [row.replace('100 100 160 200', missing) if place < 3 else row for place, row in enumerate(lines)]
        with pytest.raises(UserError, match=r'detections: 3 of 10 image boxes have no height.*--no-image'):
            ap(frames(*truth), frames(*some), classes=['Car'])
        labels = [row.removesuffix(' 0.9') for row in some]
        with pytest.raises(UserError, match=r'ground truth of the evaluated classes: 3 of 10 image boxes'):
            ap(frames(*labels), frames(*lines), classes=['Car'])
        both = without_image_boxes(frames(*labels)), without_image_boxes(frames(*some))
        assert ap(*both, classes=['Car'])['Car']['3d']['R40']['hard'] == 100


def test_a_few_boxes_without_height_are_said():
    truth = [line('Car', place) for place in range(20)]
    lines = [f'{row} 0.9' for row in truth[:-1]] + [line('Car', 19, 0.9, bbox='5 7 90 7')]
    result = ap(frames(*truth), frames(*lines), classes=['Car'])
    assert any('detections: 1 of 20 image boxes have no height' in warning for warning in result['warnings'])
    assert result['Car']['3d']['R40']['easy'] < 100


# ---------------------------------------------------------------- 3D boxes


@pytest.mark.parametrize('sizes', ['1.5 -1.6 3.9', '-1.5 -1.6 -3.9', '1.5 0 3.9', '-1 1 1'])
def test_sizes_that_are_not_positive_are_refused(sizes):
    bad = [line('Car', 0), line('Car', 1, sizes=sizes)]
    good = [line('Car', 0, 0.9)]
    expected = ' x '.join(sizes.split())
    with pytest.raises(UserError, match=rf'ground truth, frame 0: object 2 \(Car\) has the size {expected} m'):
        ap(frames(*bad), frames(*good))
    with pytest.raises(UserError, match=r'detections, frame 0: object 2 \(Car\)'):
        ap(frames(line('Car', 0)), frames(*[f'{row} 0.9' for row in bad]))


def test_files_and_objects_are_named(tmp_path):
    (tmp_path / 'a.txt').write_text(line('Car', 0) + '\n')
    (tmp_path / 'b.txt').write_text('\n' + line('Car', 0) + '\n' + line('Car', 1, sizes='1 0 1') + '\n')
    with pytest.raises(UserError, match=r'b\.txt: object 2 \(Car\) has the size 1 x 0 x 1 m, expected more than 0'):
        read_frames(tmp_path, ['a', 'b'])


def test_places_that_are_none_are_refused():
    with pytest.raises(UserError, match=r'object 1 \(Car\) is at 1e\+30, 1.7, 20, expected metres up to 10000'):
        ap(frames(*TRUTH), frames(line('Car', 0, 0.9, where='1e30 1.7 20')))


PLACEHOLDERS = [('-1 -1 -1', '-1000 -1000 -1000'), ('0 0 0', '0 0 0'), ('1.5 1.6 3.9', '-1000 -1000 -1000')]


@pytest.mark.parametrize(('sizes', 'where'), PLACEHOLDERS)
def test_placeholders_are_not_evaluated_instead_of_scoring_zero(sizes, where):
    truth = [line('Car', place, bbox=f'{70 * place} 100 {70 * place + 50} 200') for place in range(4)]
    image_only = [
        line('Car', place, 0.9, bbox=f'{70 * place} 100 {70 * place + 50} 200', sizes=sizes, where=where)
        for place in range(4)
    ]
    result = ap(frames(*truth), frames(*image_only), classes=['Car'])
    assert result['Car']['2d']['R40']['easy'] == result['mean']['2d']['R40']['easy'] == 100
    for metric in ('bev', '3d'):
        assert set(result['Car'][metric]['R40'].values()) == {None}
        assert set(result['mean'][metric]['R11'].values()) == {None}
    assert 'Car: no detection has a 3D box, so bev and 3d are not evaluated' in result['warnings']
    labels = [row.removesuffix(' 0.9') for row in image_only]
    result = ap(frames(*labels), frames(*image_only), classes=['Car'])
    assert any('no ground truth has a 3D box' in warning for warning in result['warnings'])
    assert result['Car']['3d']['R40']['easy'] is None


def test_some_placeholders_among_detections_are_errors_and_said():
    image_only = line('Car', 9, 0.95, sizes='-1 -1 -1', where='-1000 -1000 -1000')
    result = ap(frames(*TRUTH), frames(*[f'{row} 0.9' for row in TRUTH], image_only), classes=['Car'])
    assert result['Car']['3d']['R40']['easy'] == pytest.approx(80)
    assert 'Car: 1 of 5 detections have no 3D box; they are errors in bev and 3d' in result['warnings']


def test_some_placeholders_among_labels_are_refused():
    image_only = line('Car', 9, sizes='-1 -1 -1', where='-1000 -1000 -1000')
    with pytest.raises(UserError, match='ground truth: 1 of 5 objects of class Car have no 3D box'):
        ap(frames(*TRUTH, image_only), found())


# ---------------------------------------------------------------- text


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-8'])
@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_text_of_windows_programs_is_read(tmp_path, encoding, end):
    (tmp_path / 'a.txt').write_bytes(end.join(TRUTH).encode(encoding))
    objects = read_frames(tmp_path, ['a']).objects
    assert objects.names.tolist() == [row.split()[0] for row in TRUTH]
    np.testing.assert_array_equal(objects.dimensions[0], [1.5, 1.6, 3.9])
