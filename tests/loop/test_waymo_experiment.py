"""A pool in Waymo's own format goes through the converter and the whole of a shortened `pvrcnn_waymo`."""

import pytest

from ssal3d.configs import read_config
from ssal3d.data.infos import read_infos
from ssal3d.data.label_state import LabelState
from ssal3d.data.waymo_converter import convert_waymo
from ssal3d.fileio import read_json
from tests.helpers import waymo_scene
from tests.helpers.experiments import train
from tests.helpers.paths import CONFIGS, ROOT
from tests.helpers.waymo_scene import write_records, write_tables


@pytest.fixture(scope='module')
def pool(tmp_path_factory):
    """Four segments of training in tfrecords, one of validation in Parquet, converted; two frames of each are taken."""
    raw, out = (tmp_path_factory.mktemp(name) for name in ('raw', 'waymo'))
    frames = [waymo_scene.frame(number) for number in range(3)]
    for number in range(4):
        name = f'{number}000_100_000_120_000'
        write_records(raw / 'training' / f'segment-{name}.tfrecord', frames, segment=name)
    write_tables(raw / 'validation', frames, segment='9000_100_000_120_000')
    convert_waymo(raw, out, intervals={'training': 2, 'validation': 2}, workers=1)
    return out


def test_the_whole_experiment_runs_to_its_end(pool, tmp_path):
    options = [f'data_root={pool}', f'val_evaluator.ann_file={pool}/waymo_infos_val.pkl']
    done = train(pool, tmp_path, '--cfg-options', *options, config=str(CONFIGS / 'tiny_waymo.py'))
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = read_json(tmp_path / 'metrics.json')
    assert list(metrics['stages']) == ['round_1/normal', 'round_1/cpsp', 'final/supervised', 'final/final_cpsp']
    for stage in metrics['stages'].values():
        assert {'waymo/VEHICLE_L1_AP', 'waymo/mean_L2_APH', 'waymo/PEDESTRIAN_0-30m_L2_AP'} <= set(stage)
    assert 'AP and APH (level 2, %) on the val split' in done.stdout
    # Each frame has a car, a walker and a cyclist, and a car without a point, which is annotated, too.
    labels = LabelState.read(tmp_path / 'labels' / 'round_1.json')
    assert [frame.boxes for frame in labels.frames] == [{'Car': 2, 'Pedestrian': 1, 'Cyclist': 1}] * 4
    known = {info['sample_idx'] for info in read_infos(pool / 'waymo_infos_train.pkl')['data_list']}
    assert set(labels.frame_ids) < known
    assert len(known) == 8
    assert (tmp_path / 'report.html').exists()


def test_the_papers_numbers_on_waymo():
    config = read_config(ROOT / 'configs/ssal/pvrcnn_waymo.py')
    assert (config.train_cfg.initial.query.budget, config.query.budget) == (5000, 5000)
    assert config.train_cfg.final == ['supervised', 'final_cpsp']
    own = [config.stages[name] for name in ('normal', 'cpsp', 'supervised', 'final_cpsp')]
    assert {(stage.epochs, stage.repeat) for stage in own} == {(30, 15)}
    assert {(stage.pseudo_ratio, stage.bank.k_first, stage.bank.tau_low) for stage in own[1::2]} == {(0.5, 50, 0.3)}
    assert config.optim_wrapper.optimizer.weight_decay == 0.001
    voxels = config.model.data_preprocessor.voxel_layer
    assert (voxels.voxel_size, voxels.point_cloud_range) == ([0.1, 0.1, 0.15], [-75.2, -75.2, -2, 75.2, 75.2, 4])
    assert [config.model.points_encoder[key] for key in ('num_keypoints', 'bev_feat_channel')] == [4096, 256]
    flip, paste = (next(step for step in config.labelled_pipeline if step.type == kind)
                   for kind in ('RandomFlip3D', 'PasteObjects'))  # fmt: skip
    assert (flip.flip_ratio_bev_horizontal, flip.flip_ratio_bev_vertical, paste.mode) == (0.5, 0.5, 'fill_up_to')
    rounds = [read_config(ROOT / f'configs/ssal/pvrcnn_waymo_{count}_rounds.py').train_cfg for count in (3, 5)]
    assert [(len(loop.rounds), bool(loop.get('final_every_round'))) for loop in rounds] == [(3, False), (5, True)]
