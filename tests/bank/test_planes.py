"""Missing road planes are counted by the conversion and told once per stage."""

import logging
from types import SimpleNamespace

import pytest
from mmdet3d.registry import DATASETS
from mmengine.logging import MMLogger

import ssal3d.bank.transforms
import ssal3d.data.kitti_dataset  # noqa: F401
from ssal3d.bank.hook import PasteBankHook
from ssal3d.bank.planes import tell_missing_planes
from ssal3d.cli.create_data import main
from ssal3d.cpsp.dataset import PseudoSceneDataset
from ssal3d.data.infos import read_infos
from ssal3d.data.label_state import LabelState
from ssal3d.data.labelled import state_of
from ssal3d.log import is_shown
from tests.helpers.kitti_street import write_street

CLASSES = ['Pedestrian', 'Cyclist', 'Car']
PLANE = '# Matrix\nWIDTH 4\nHEIGHT 1\n0 -1 0 1.65\n'


def convert(folder):
    with pytest.raises(SystemExit) as ended:
        main(['kitti', '--root-path', str(folder), '--workers', '1'])
    assert ended.value.code == 0


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Six converted frames, 000001 to 000003 with a plane."""
    folder = tmp_path_factory.mktemp('planes') / 'kitti'
    write_street(folder, 6)
    (folder / 'training' / 'planes').mkdir()
    for frame in (1, 2, 3):
        (folder / 'training' / 'planes' / f'{frame:06d}.txt').write_text(PLANE)
    convert(folder)
    return folder


@pytest.fixture
def records(monkeypatch):
    found = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'handle', found.append)
    return lambda: [record for record in found if 'road planes' in record.getMessage()]


def view(kind, root, labels, bank, use_ground_plane=True, **options):
    paste = dict(type='PasteObjects', bank=str(bank), groups={'Car': 1}, use_ground_plane=use_ground_plane)
    dataset = dict(
        type='KittiFrameDataset',
        data_root=str(root),
        ann_file='kitti_infos_train.pkl',
        data_prefix=dict(pts='training/velodyne_reduced'),
        pipeline=[paste],
        modality=dict(use_lidar=True, use_camera=False),
        metainfo=dict(classes=CLASSES),
        serialize_data=False,
    )
    return DATASETS.build(dict(type=kind, dataset=dataset, labels=labels, **options))


def scenes(root, tmp_path, *bought, **options) -> PseudoSceneDataset:
    labels = state(root, *bought)
    parts = [view(kind, root, labels, tmp_path / 'bank', **options) for kind in ('LabelledView', 'UnlabelledView')]
    parts[1]._include_labelled = True
    return PseudoSceneDataset(*parts)


def state(root, *bought) -> LabelState:
    return state_of(read_infos(root / 'kitti_infos_train.pkl'), CLASSES, 'pool', bought)


def test_a_stage_tells_once_on_the_terminal_how_many_frames_lack_a_plane(root, tmp_path, records):
    tell_missing_planes(scenes(root, tmp_path, '000000', '000001'))
    (record,) = records()
    assert record.levelno == logging.WARNING
    assert is_shown(record)
    assert 'missing in 1 of 2 labelled frames, 3 of 6 frames taken without labels' in record.getMessage()
    assert 'use_ground_plane=False' in record.getMessage()
    assert '\n' not in record.getMessage()


def test_where_nothing_lacks_the_number_stands_in_the_log_only(root, tmp_path, records):
    dataset = SimpleNamespace(dataset=view('LabelledView', root, state(root, '000001', '000002'), tmp_path / 'bank'))
    tell_missing_planes(dataset)
    (record,) = records()
    assert not is_shown(record)
    assert '0 of 2 labelled frames' in record.getMessage()


def test_a_stage_that_pastes_without_planes_says_nothing(root, tmp_path, records):
    tell_missing_planes(scenes(root, tmp_path, '000000', use_ground_plane=False))
    assert records() == []


def test_supervised_training_tells_it_when_it_begins(root, tmp_path, records):
    labels = state(root, '000000')
    labels.write(tmp_path / 'round_0.json')
    labelled = view('LabelledView', root, labels, tmp_path / 'bank')
    hook = PasteBankHook(
        tmp_path / 'bank', dict(type='LabelledView', dataset=labelled._config, labels=str(tmp_path / 'round_0.json'))
    )
    loader = SimpleNamespace(dataset=SimpleNamespace(dataset=labelled))
    hook.before_train(SimpleNamespace(train_dataloader=loader, logger=MMLogger.get_current_instance()))
    assert ['1 of 1 labelled frames' in record.getMessage() for record in records()] == [True]


def test_the_conversion_counts_frames_with_planes(root, capsys):
    convert(root)
    told = capsys.readouterr().out
    assert 'train: 3 of 6 frames have a road plane' in told
    for frame in (0, 4, 5):
        (root / 'training' / 'planes' / f'{frame:06d}.txt').write_text(PLANE)
    convert(root)
    assert 'road plane' not in capsys.readouterr().out
