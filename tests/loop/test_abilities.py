"""Detectors that lack something are refused before anything is trained."""

import pytest
from mmdet3d.registry import MODELS

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.loop.abilities import check_abilities
from ssal3d.loop.chains import order_stages
from ssal3d.models.protocol import ABILITIES, lacking
from ssal3d.registry import STAGES
from tests.helpers.paths import ROOT

EXPERIMENTS = sorted((ROOT / 'configs/ssal').glob('*.py'))


def check(config):
    chains = [[entry['pretrain']] for entry in config.train_cfg.rounds] + [config.train_cfg.final]
    names = {place.name for chain in chains for place in order_stages(chain)}
    check_abilities(config, config.train_cfg.rounds, {name: STAGES.build(dict(config.stages[name])) for name in names})


def experiment(name, **changes):
    config = read_config(ROOT / f'configs/ssal/{name}.py')
    config.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return config


def with_sampler(name, **options):
    config = experiment(name)
    config.active_sampler = dict(options)
    return config


@pytest.mark.parametrize('path', EXPERIMENTS, ids=lambda path: path.stem)
def test_shipped_experiments_ask_for_nothing_that_is_not_there(path):
    check(read_config(path))


@pytest.mark.parametrize('method', ['threedioumatch', 'joint3d', 'nal', 'hssda'])
def test_teacher_student_methods_need_losses_by_frame(method):
    said = f"stage '{method}' .* learns from 'frame_losses', each frame's own losses .*, but ActiveCenterPoint gives nothing"
    with pytest.raises(UserError, match=said):
        check(experiment('centerpoint_kitti', train_cfg__final=['supervised', method]))
    check(experiment('pvrcnn_sim', train_cfg__final=['supervised', method]))


@pytest.mark.parametrize(
    ('method', 'needed'),
    [('threedioumatch', 'rpn_scores_3d'), ('joint3d', 'refined_boxes'), ('hssda', 'rpn_scores_3d')],
)
def test_methods_that_read_a_second_stage_need_one(method, needed):
    said = f"stage '{method}' .* learns from '{needed}', .* ActiveVoxelNet gives anchor_maps, frame_losses;"
    with pytest.raises(UserError, match=said):
        check(experiment('pillars_sim', train_cfg__final=['supervised', method]))


@pytest.mark.parametrize('name', ['pillars_sim', 'second_kitti', 'pointpillars_kitti'])
def test_nal_learns_from_anchors_alone(name):
    check(experiment(name, train_cfg__final=['supervised', 'nal']))


def test_a_declared_ability_needs_its_method():
    class Promises:
        teaches = frozenset(ABILITIES)

    assert lacking(Promises, frozenset(('frame_losses',))) == 'frame_losses'
    assert lacking(MODELS.get('ActivePointVoxelRCNN'), frozenset(ABILITIES)) is None


def test_a_loss_net_is_refused_on_a_detector_that_it_does_not_fit():
    config = experiment('pillars_sim', train_cfg__final=['supervised', 'loss_net'])
    with pytest.raises(UserError, match=r'makes a LossPredictingPVRCNN .* must be a ActivePointVoxelRCNN'):
        check(config)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(type='CoreSetSampler'), "no column 'roi_features'"),
        (dict(type='CRBSampler'), "layer 'shared_fc', it has rpn_conv_cls"),
        (dict(type='MCDropoutSampler'), "no column 'mc_residuals'"),
        (dict(type='KECORSampler'), "no column 'roi_features'"),
        (dict(type='BADGESampler'), "layer 'roi_cls', it has rpn_conv_cls; .* layer='rpn_conv_cls'"),
        (dict(type='LLALSampler'), "no column 'predicted_loss'"),
    ],
)
@pytest.mark.parametrize('name', ['pillars_sim', 'second_kitti', 'centerpoint_kitti'])
def test_samplers_that_read_what_single_stages_lack_are_refused(name, options, said):
    with pytest.raises(UserError, match=said):
        check(with_sampler(name, **options))


@pytest.mark.parametrize(
    'options',
    [
        dict(type='RandomSampler'),
        dict(type='ConfidenceSampler'),
        dict(type='EntropySampler', source='softmax_rpn'),
        dict(type='BADGESampler', layer='rpn_conv_cls'),
        dict(type='PPALSampler'),
        dict(type='InformationPerBoxSampler'),
        dict(type='CALSampler', entropy='rpn_softmax'),
    ],
)
def test_the_other_samplers_work(options):
    check(with_sampler('pillars_sim', **options))


def test_a_loss_is_predicted_by_the_stage_that_learns_it():
    check(experiment('pvrcnn_kitti_llal'))
    config = experiment('pvrcnn_kitti_llal')
    config.train_cfg.rounds = [dict(pretrain=['normal'])]
    with pytest.raises(UserError, match="ActivePointVoxelRCNN gives no column 'predicted_loss'"):
        check(config)
