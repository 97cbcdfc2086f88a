"""Detector, method, stage, data set, annotator and hook of docs/extending.md work as they stand there."""

import re
from types import SimpleNamespace

import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import HOOKS, init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.loop.abilities import check_sampler, check_stage
from ssal3d.loop.annotators import build_annotator
from ssal3d.models.extraction import Extraction, extracting
from ssal3d.registry import ACTIVE_SAMPLERS, ANNOTATORS, STAGES
from ssal3d.stages.supervised import StageInputs
from tests.helpers.paths import ROOT, TINY
from tests.models import single_stages

BLOCKS = re.findall(r'^```python\n(.*?)^```', (ROOT / 'docs' / 'extending.md').read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def define():
    """Run the block that defines a class; what it registered is forgotten afterwards."""
    defined = []
    init_default_scope('mmdet3d')

    def run(name):
        (code,) = [code for code in BLOCKS if f'class {name}(' in code]
        names = {'__name__': 'extending'}
        exec(compile(code, 'extending.md', 'exec'), names)
        defined.append(name)
        return names[name]

    yield run
    for name in defined:
        for registry in (MODELS, DATASETS, STAGES, ANNOTATORS, HOOKS):
            registry._module_dict.pop(name, None)


def teaching_config():
    config = single_stages._as_stock(single_stages.BUILDERS['pillars']())
    return config | {'type': 'TeachingVoxelNet'}


def with_boxes(count):
    return single_stages.batch(count, boxes=[single_stages.street(seed, 4) for seed in range(count)])


def test_the_detector_gives_features_and_losses_by_frame_and_is_refused_what_it_lacks(define):
    kind = define('TeachingVoxelNet')
    torch.manual_seed(0)
    model = MODELS.build(Config(dict(model=teaching_config())).model)
    with torch.no_grad(), extracting(model, Extraction.of(('box_features',), {})):
        (found, *_) = model.eval().test_step(single_stages.batch())
    assert found.pred_instances_3d.box_features.shape[0] == len(found.pred_instances_3d)
    data = model.train().data_preprocessor(with_boxes(2), True)
    outputs = model.frame_outputs(data['inputs'], data['data_samples'])
    assert all(set(output.losses) == set(kind.pseudo_label_losses) for output in outputs)
    assert not torch.equal(outputs[0].losses['loss_bbox'], outputs[1].losses['loss_bbox'])
    check_sampler(ACTIVE_SAMPLERS.build(dict(type='CALSampler')), kind)
    stages = read_config(ROOT / 'configs/ssal/pvrcnn_kitti.py').stages
    with pytest.raises(UserError, match="learns from 'anchor_maps'"):
        check_stage('nal', STAGES.build(dict(stages['nal'])), kind)


def test_the_method_learns_what_its_teacher_is_sure_of(define):
    define('TeachingVoxelNet')
    define('ConfidentLabels')
    config = teaching_config()
    preprocessor = dict(config.pop('data_preprocessor'), type='SemiDataPreprocessor')
    options = dict(type='ConfidentLabels', detector=config, classes=['Pedestrian', 'Cyclist', 'Car'], t_score=0.0)
    torch.manual_seed(0)
    model = MODELS.build(Config(dict(model=dict(**options, data_preprocessor=preprocessor))).model).train()
    data = with_boxes(3)
    branches = {
        name: {
            'inputs': {'points': [data['inputs']['points'][number]]},
            'data_samples': [data['data_samples'][number]],
        }
        for number, name in enumerate(('labelled', 'teacher', 'student'))
    }
    for name in ('teacher', 'student'):
        del branches[name]['data_samples'][0].gt_instances_3d
    losses = model(**model.data_preprocessor(branches, True), mode='loss')
    assert {'loss_cls', 'unlabelled_loss_cls', 'unlabelled_loss_bbox', 'unlabelled_loss_dir'} <= losses.keys()
    assert sum(float(losses[f'pseudo/{name}/count']) for name in model.classes) > 0
    stage = STAGES.build(dict(type='TeacherStudentStage', epochs=60, method=dict(type='ConfidentLabels', t_score=0.6)))
    check_stage('confident', stage, MODELS.get('TeachingVoxelNet'))


def test_the_stage_slows_the_backbone_down(define, tmp_path):
    define('SlowBackboneStage')
    stage = STAGES.build(dict(type='SlowBackboneStage', epochs=3, lr_mult=0.2))
    config = stage.build_config(read_config(TINY), StageInputs(tmp_path / 'stage', tmp_path / 'labels.json'))
    assert config.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.2
    assert config.train_cfg.max_epochs == 3


def test_the_data_set_leaves_nights_out(define, monkeypatch):
    kind = define('DaytimeDataset')
    monkeypatch.setattr(kind.__bases__[0], 'load_data_list', lambda _: [{'frame_id': 'night_1'}, {'frame_id': 'day_1'}])
    dataset = kind.__new__(kind)
    assert dataset.load_data_list() == [{'frame_id': 'day_1'}]
    assert DATASETS.get('DaytimeDataset') is kind


def test_the_annotator_answers_for_every_class(define):
    define('AskingAnnotator')
    asked = build_annotator(
        dict(type='AskingAnnotator', ask={'000001': {'Car': 2}}.__getitem__),
        ann_file='none.pkl',
        classes=('Car', 'Cyclist'),
        log=None,
    )
    assert asked.annotate('000001') == {'Car': 2, 'Cyclist': 0}


def test_the_hook_writes_its_diary(define, tmp_path):
    hook = define('DiaryHook')()
    runner = SimpleNamespace(train_loop=SimpleNamespace(work_dir=tmp_path))
    hook.after_stage(runner, 'round_1/normal', {'seconds': 3.5})
    hook.after_query(runner, 1, None, {'frames': 7})
    assert (tmp_path / 'diary.txt').read_text() == 'round_1/normal: 3.5 s\nround 1: 7 frames\n'
