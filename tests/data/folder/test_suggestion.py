"""Range, voxels and anchors come from the labelled frames, and the template is filled with them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from mmengine.config import Config

from ssal3d.configs import find_config, read_config
from ssal3d.data.folder.converter import convert_folder
from ssal3d.data.folder.suggestion import as_block, fill_template, fit_range, read_suggestion
from ssal3d.errors import UserError
from tests.helpers.kitti_street import boxes_of, scan_of
from tests.helpers.paths import ROOT

OWN = {'Car': 'car', 'Pedestrian': 'forklift', 'Cyclist': 'truck'}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A converted folder of 16 frames all around, ten of them labelled."""
    root = tmp_path_factory.mktemp('own')
    random, frames = np.random.default_rng(0), {}
    (root / 'raw').mkdir()
    for number in range(16):
        names, boxes = boxes_of(random, behind=True)
        scan_of(random, boxes).tofile(root / 'raw' / f'{number}.bin')
        if number < 10:
            frames[str(number)] = [{'class': OWN[n], 'box': b} for n, b in zip(names, boxes.tolist(), strict=True)]
    (root / 'raw' / 'labels.json').write_text(json.dumps({'frames': frames}))
    convert_folder(root / 'raw', root / 'out', ['car', 'truck', 'forklift'], workers=1, val_share=0.2)
    return root / 'out'


def test_anchors_are_medians_and_the_range_holds_the_boxes(folder):
    found = read_suggestion(folder, 'folder')
    assert found.class_names == ('car', 'truck', 'forklift')
    assert found.boxes == {'car': 16, 'truck': 8, 'forklift': 8}
    np.testing.assert_allclose(found.anchor_sizes[0], (3.9, 1.6, 1.5), atol=1e-6)
    np.testing.assert_allclose(found.anchor_bottoms, [-1.73] * 3, atol=1e-6)
    assert found.anchor_overlaps == ((0.6, 0.45), (0.5, 0.35), (0.5, 0.35))
    assert found.inside == 1
    assert found.point_cloud_range[0] < 0, 'all around'
    assert any('truck: only 8 boxes' in note for note in found.notes)


@pytest.mark.parametrize('reach', [20.0, 60.0, 200.0])
def test_voxels_divide_the_range(reach):
    random = np.random.default_rng(0)
    boxes = np.column_stack(
        (random.uniform(-reach, reach, (500, 2)), random.normal(0, 0.3, 500), np.full((500, 3), 2.0), np.zeros(500))
    )
    limits, voxel = fit_range(boxes)
    for axis in range(2):
        cells = (limits[3 + axis] - limits[axis]) / voxel[axis] / 16
        assert cells == pytest.approx(round(cells), abs=1e-6)
    assert (limits[5] - limits[2]) / voxel[2] == pytest.approx(40)
    assert max(map(abs, limits[:2])) <= 76.8 + 0.8
    assert limits[1] == -limits[4], 'mirrored frames stay inside'
    assert limits[0] == -limits[3], 'objects all around'
    ahead = fit_range(boxes[boxes[:, 0] > 5])[0]
    assert ahead[0] == 0, 'nothing is labelled behind'


def test_a_class_without_boxes_is_named(folder, tmp_path):
    convert_folder(folder.parent / 'raw', tmp_path, ['car', 'truck', 'forklift', 'bus'], workers=1)
    with pytest.raises(UserError, match='no labelled box of class bus'):
        read_suggestion(tmp_path, 'folder')


def test_the_filled_template_is_consistent(folder, tmp_path):
    suggestion = read_suggestion(folder, 'folder')
    block = as_block(suggestion, folder, 'folder', folder / 'labels' / 'round_0.json')
    path = tmp_path / 'my.py'
    path.write_text(fill_template(find_config('ssal3d::ssal/pvrcnn_folder.py').read_text(), block))
    config = read_config(str(path), custom_imports=False)
    head, layer = config.model.rpn_head, config.model.data_preprocessor.voxel_layer
    assert config.pool_dataset.data_root == str(folder)
    assert config.train_cfg.initial.labels == str(folder / 'labels' / 'round_0.json')
    assert head.num_classes == config.model.roi_head.num_classes == config.model.roi_head.bbox_head.num_classes == 3
    assert [list(size) for size in head.anchor_generator.sizes] == [list(size) for size in suggestion.anchor_sizes]
    assert len(config.model.train_cfg.rpn.assigner) == 3
    steps = [
        s
        for p in ('labelled', 'pseudo', 'student', 'test')
        for s in config[f'{p}_pipeline']
        if 'point_cloud_range' in s
    ]
    assert all(step.point_cloud_range == layer.point_cloud_range for step in steps)
    assert len(steps) == 6
    assert [entry.size for entry in config.anchors.values()] == head.anchor_generator.sizes
    one = read_config(path, {'class_names': ['truck'], 'data_root': 'elsewhere'}, custom_imports=False)
    assert one.model.rpn_head.num_classes == len(one.model.rpn_head.anchor_generator.sizes) == 1
    assert one.train_cfg.initial.labels == 'elsewhere/labels/round_0.json'
    for key in ('Car', 'Pedestrian', 'Cyclist'):
        assert key not in json.dumps(Config(config._cfg_dict).to_dict(), default=str), 'nothing of KITTI is left'


def test_a_template_without_the_block_is_refused():
    with pytest.raises(UserError, match='has no block between'):
        fill_template('a = 1\n', 'b')


def test_the_command_writes_a_config_and_keeps_an_old_one(folder, tmp_path):
    command = [sys.executable, '-m', 'ssal3d', 'suggest', str(folder), '--out', str(tmp_path / 'my.py')]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "class_names = ['car', 'truck', 'forklift']" in done.stdout
    assert (tmp_path / 'my.py').exists()
    again = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert again.returncode == 2
    assert '--force' in again.stderr
