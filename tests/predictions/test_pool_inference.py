"""Which finished parts a pass goes on from: those of its own weights, settings and pool."""

import json
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from mmdet3d.registry import MODELS
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.predictions import PredictionWriter, read_predictions
from ssal3d.predictions.pool_inference import predict_pool
from ssal3d.predictions.reader import read_metadata
from ssal3d.predictions.schema import METADATA_KEY
from ssal3d.predictions.settings_digest import settings_digest
from tests.helpers.paths import TINY
from tests.helpers.tiny_pool import TinyDetector, TinyPool, digests

KEY = 'test_cfg_and_pipeline_sha256'
REFUSED = 'part-00000.parquet: found {} .*; these are predictions of another run or version, choose another folder'


class Crop:
    """A transform with options, among them some of no effect."""

    def __init__(self, limit=1.0, **more):
        self.limit, self.transforms = limit, [len]
        vars(self).update(more)

    def __call__(self, sample):
        return sample


def predict(folder, test_cfg=None, part_cfg=None, coder=None, pipeline=None):
    """Predict two parts and return the number of frames that were not there yet."""
    model, pool = TinyDetector(), TinyPool(4)
    model.test_cfg, model.layers.test_cfg, pool.pipeline = test_cfg, part_cfg, pipeline
    if coder:
        model.layers.bbox_coder = SimpleNamespace(**coder)
    return predict_pool(model, pool, folder, batch_size=1, num_workers=0, frames_per_part=2).frames


SETTINGS = {
    'test_cfg': {'rcnn': {'nms_thr': 0.1, 'score_thr': (0.1, float('inf'))}},
    'part_cfg': {'nms_pre': 9},
    'coder': {'score_threshold': 0.1, 'max_num': 3},
    'pipeline': Compose([Crop()]),
}


@pytest.mark.parametrize(
    ('name', 'other'),
    [
        ('test_cfg', {'rcnn': {'nms_thr': 0.7, 'score_thr': (0.1, float('inf'))}}),
        ('test_cfg', {'rcnn': {'nms_thr': 0.1, 'score_thr': (0.2, float('inf'))}}),
        ('test_cfg', {'rcnn': {'nms_thr': 0.1}}),
        ('test_cfg', None),
        ('part_cfg', {'nms_pre': 8}),
        ('coder', {'score_threshold': 0.2, 'max_num': 3}),
        ('pipeline', Compose([Crop(2.0)])),
        ('pipeline', Compose([Crop(), Crop()])),
        ('pipeline', Compose([Compose([Crop()])])),
        ('pipeline', Crop()),
        ('pipeline', None),
    ],
)
def test_parts_made_with_other_settings_are_refused_and_kept(tmp_path, name, other):
    assert predict(tmp_path, **SETTINGS) == 4
    (tmp_path / 'part-00001.parquet').unlink()
    before = digests(tmp_path)
    with pytest.raises(UserError, match=REFUSED.format(KEY)):
        predict(tmp_path, **{**SETTINGS, name: other})
    assert digests(tmp_path) == before
    assert predict(tmp_path, **SETTINGS) == 2
    assert predict(tmp_path, **SETTINGS) == 0


def test_parts_of_an_earlier_version_are_read_but_not_gone_on_with(tmp_path):
    """They do not say with which settings they were made."""
    predict(tmp_path, **SETTINGS)
    for path in sorted(tmp_path.iterdir()):
        facts = {name: fact for name, fact in read_metadata(path).items() if name != KEY}
        table = pq.ParquetFile(path).read()
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(facts)}), path)
    assert len(read_predictions(tmp_path)) == 4
    with pytest.raises(UserError, match=REFUSED.format(f'{KEY} None, expected')):
        predict(tmp_path, **SETTINGS)


def test_predictions_of_other_writers_need_no_settings(tmp_path):
    for prefix in ('0', '1'):
        with PredictionWriter(tmp_path, ['Car'], metadata={'detector': 'mine'}, prefix=prefix) as writer:
            writer.add(prefix, bboxes_3d=[[0, 0, 0, 1, 1, 1, 0]], scores_3d=[0.5], labels_3d=[0])
    assert len(read_predictions(tmp_path)) == 2


@pytest.mark.parametrize(
    'kept', [{'backend_args': {'path': 'elsewhere'}}, {'client': SimpleNamespace(opened=3)}, {'_seen': 7}]
)
def test_where_files_lie_and_what_a_transform_keeps_in_use_are_no_settings(kept):
    new, used = (
        settings_digest(TinyDetector(), Crop(**{'backend_args': None, 'client': None, **more})) for more in ({}, kept)
    )
    assert new == used


def digest_of(changes):
    """The digest of what a config builds."""
    config = read_config(TINY, changes)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        return settings_digest(MODELS.build(config.model), Compose(config.test_pipeline))


def test_settings_of_a_config_are_those_of_the_detector_and_the_pipeline_that_it_builds():
    same = digest_of({})
    assert digest_of({'train_cfg.rounds': []}) == same
    for changes in (
        {'model.test_cfg.rcnn.score_thr': 0.2},
        {'model.test_cfg.rcnn.nms_thr': 0.7},
        {'model.test_cfg.rpn.nms_post': 7},
        {'test_pipeline.1.point_cloud_range': [0, -1, -3, 5, 1, 1]},
    ):
        assert digest_of(changes) != same
