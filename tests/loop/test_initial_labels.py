"""An experiment that begins with what is labelled already."""

import pytest
from mmengine.config import Config

import ssal3d.register  # noqa: F401
from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.loop.querying import take_labels
from tests.helpers.kitti_street import write_street

CLASSES = ['Car', 'Pedestrian']


@pytest.fixture
def root(tmp_path):
    """A converted pool of eight frames of which 0 to 3 are labelled, 3 without objects."""
    write_street(tmp_path)
    labels = tmp_path / 'training' / 'label_2'
    (labels / '000003.txt').write_text('')
    for number in range(4, 8):
        (labels / f'{number:06d}.txt').unlink()
    convert_kitti(tmp_path, workers=1)
    return tmp_path


@pytest.fixture
def config(root):
    pool = dict(
        type='KittiFrameDataset',
        data_root=str(root),
        ann_file='kitti_infos_train.pkl',
        data_prefix=dict(pts='training/velodyne_reduced'),
        metainfo=dict(classes=CLASSES),
    )
    return Config(dict(pool_dataset=pool))


SIMULATED = dict(type='SimulatedAnnotator')


def test_the_state_of_the_converter_is_taken_over(root, config, tmp_path):
    work = tmp_path / 'work'
    facts = take_labels(config, root / 'labels' / 'round_0.json', None, work)
    assert facts['files'] == {'labels': work / 'labels' / 'round_0.json'}
    state = LabelState.read(work / 'labels' / 'round_0.json')
    assert state.frame_ids == ('000000', '000001', '000002', '000003')
    assert state.classes == tuple(CLASSES), 'the classes of the experiment'
    assert facts['spent_per_class'] == state.counts == {'Car': 6, 'Pedestrian': 3}
    assert (facts['frames'], facts['spent'], facts['stopped']) == (4, 9, 'given')
    assert {frame.round for frame in state.frames} == {0}


def test_rounds_without_anybody_who_labels_are_refused_at_the_start(root, config, tmp_path):
    with pytest.raises(UserError, match=r'4 of 4 frames that a query may ask for have no labels, for instance 000004'):
        take_labels(config, root / 'labels' / 'round_0.json', SIMULATED, tmp_path / 'work')
    assert not (tmp_path / 'work').exists()


def test_labels_that_the_annotation_file_lacks_are_refused_at_the_start(root, config, tmp_path):
    state = LabelState.read(root / 'labels' / 'round_0.json').buy(1, [('000005', {'Car': 2})])
    state.write(tmp_path / 'round_1.json')
    with pytest.raises(UserError, match='frame 000005 is in the label state but has no annotations'):
        take_labels(config, tmp_path / 'round_1.json', None, tmp_path / 'work')


def test_an_empty_state_is_refused(root, config, tmp_path):
    full = LabelState.read(root / 'labels' / 'round_0.json')
    pool = [f'{number:06d}' for number in range(8)]
    LabelState.empty(full.classes, 'pool', pool).write(tmp_path / 'empty.json')
    with pytest.raises(UserError, match='no labelled frame in it'):
        take_labels(config, tmp_path / 'empty.json', None, tmp_path / 'work')
    LabelState.empty(full.classes, 'pool', pool[:3]).buy(0, [(pool[0], {})]).write(tmp_path / 'other.json')
    with pytest.raises(UserError, match='belongs to the pool'):
        take_labels(config, tmp_path / 'other.json', None, tmp_path / 'work')
