"""A pool of which some frames have a label file: the usual start of active learning."""

import json

import pytest

from ssal3d.data.infos import frame_id, read_infos
from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from tests.helpers.kitti_street import write_street

FRAMES = [f'{number:06d}' for number in range(8)]


@pytest.fixture
def pool(tmp_path):
    """Eight frames: three labelled with objects, one labelled without objects, four that nobody labelled."""
    write_street(tmp_path)
    labels = tmp_path / 'training' / 'label_2'
    (labels / '000003.txt').write_text('')
    for frame in FRAMES[4:]:
        (labels / f'{frame}.txt').unlink()
    return tmp_path


def test_unlabelled_is_not_empty(pool):
    (summary,) = convert_kitti(pool, workers=1)
    assert (summary.frames, summary.labelled_frames) == (8, 4)
    frames = read_infos(pool / 'kitti_infos_train.pkl')['data_list']
    assert [len(frame['instances']) for frame in frames[:4]] == [4, 4, 4, 0]
    assert all('instances' not in frame for frame in frames[4:])


def test_what_is_labelled_becomes_a_label_state(pool):
    (summary,) = convert_kitti(pool, workers=1)
    assert summary.label_state == pool / 'labels' / 'round_0.json'
    state = LabelState.read(summary.label_state)
    assert state.frame_ids == tuple(FRAMES[:4])
    assert {name: count for name, count in state.counts.items() if count} == {'Car': 6, 'Pedestrian': 3, 'Cyclist': 3}
    assert sum(state.frames[3].boxes.values()) == 0
    state.check_pool(FRAMES)
    assert state.pool_name == 'kitti_infos_train'


def test_the_state_follows_the_label_files(pool):
    convert_kitti(pool, workers=1)
    labels = pool / 'training' / 'label_2'
    for frame in FRAMES[4:6]:
        (labels / f'{frame}.txt').write_text((labels / '000000.txt').read_text())
    (summary,) = convert_kitti(pool, workers=1, accept_implausible=True)
    assert LabelState.read(summary.label_state).frame_ids == tuple(FRAMES[:6])
    for frame in FRAMES[6:]:
        (labels / f'{frame}.txt').write_text('')
    (summary,) = convert_kitti(pool, workers=1, accept_implausible=True)
    assert len(LabelState.read(summary.label_state).frames) == 8, 'no state of yesterday stays behind'


def test_a_fully_labelled_or_unlabelled_split_has_no_state(pool):
    (pool / 'ImageSets' / 'train.txt').write_text('\n'.join(FRAMES[:4]))
    (pool / 'ImageSets' / 'unlabelled.txt').write_text('\n'.join(FRAMES[4:]))
    assert [summary.label_state for summary in convert_kitti(pool, workers=1)] == [None, None]
    assert not (pool / 'labels').exists()


def test_a_state_of_another_split_has_its_own_folder(pool):
    (pool / 'ImageSets' / 'train.txt').rename(pool / 'ImageSets' / 'pool.txt')
    (summary,) = convert_kitti(pool, workers=1)
    assert summary.label_state == pool / 'labels' / 'pool' / 'round_0.json'
    assert json.loads(summary.label_state.read_text())['pool']['name'] == 'kitti_infos_pool'


def test_quarantined_frames_are_not_in_the_state(pool):
    (pool / 'training' / 'velodyne' / '000001.bin').write_bytes(b'x')
    (summary,) = convert_kitti(pool, workers=1, on_error='quarantine')
    state = LabelState.read(summary.label_state)
    assert state.frame_ids == ('000000', '000002', '000003')
    state.check_pool([frame_id(info) for info in read_infos(pool / 'kitti_infos_train.pkl')['data_list']])


# ---------------------------------------------------------------- val and train


@pytest.mark.parametrize('name', ['train', 'unlabelled', 'pool'])
def test_what_is_trained_on_cannot_be_measured_on(tmp_path, name):
    write_street(tmp_path, **{name: FRAMES[:6], 'val': FRAMES[5:]})
    with pytest.raises(UserError, match=rf'val\.txt: 1 of 3 frames are also in {name}\.txt, for instance 000005'):
        convert_kitti(tmp_path, workers=1)


def test_trainval_may_hold_val(tmp_path):
    write_street(tmp_path, train=FRAMES[:6], val=FRAMES[6:], trainval=FRAMES, val_small=FRAMES[6:7], all=FRAMES)
    assert len(convert_kitti(tmp_path, workers=1)) == 5
