import numpy as np
import pytest

from ssal3d.configs import read_config
from ssal3d.cpsp.settings import CPSPSettings, cpsp_settings, low_thresholds
from ssal3d.errors import UserError
from ssal3d.registry import STAGES


def test_defaults_are_the_profile_ours():
    assert cpsp_settings() == CPSPSettings() == cpsp_settings('ours')


def test_released_profile_has_the_authors_behaviour():
    released = cpsp_settings('released')
    assert (released.k_first, released.k_next, released.select) == (30, 20, 'top_centroid')
    assert released.replace_on_tie
    assert released.stability_filter
    fixes = (released.one_per_prediction, released.keep_in_empty_frames, released.mask_bank_boxes)
    assert fixes == (False, False, False)
    assert (released.tau_low, released.match_iou, released.del_after) == (0.2, 0.5, 1)


def test_paper_profile_clusters_entropy_and_takes_the_group():
    paper = cpsp_settings('paper')
    assert (paper.k_first, paper.k_next, paper.select, paper.measure) == (20, 20, 'top_cluster', 'entropy')
    assert paper.support == 'confident'
    assert not paper.replace_on_tie
    assert not paper.stability_filter


def test_dataset_differences_are_values():
    waymo = cpsp_settings('released', k_first=60, k_next=50, tau_low=0.3)
    assert (waymo.clusters(['Vehicle'], True), waymo.clusters(['Vehicle'], False)) == ([60], [50])
    assert low_thresholds(np.empty(0), np.empty(0, int), ['Vehicle'], waymo) == {'Vehicle': 0.3}


def test_values_by_class_name():
    settings = cpsp_settings(tau_low={'Cyclist': 0.1, 'Car': 0.3}, k_first={'Cyclist': 5, 'Car': 7})
    assert low_thresholds(np.empty(0), np.empty(0, int), ['Car', 'Cyclist'], settings) == {'Car': 0.3, 'Cyclist': 0.1}
    assert settings.clusters(['Car', 'Cyclist'], True) == [7, 5]
    with pytest.raises(
        UserError, match="tau_low: class 'Pedestrian' is missing; give a value for Car, Pedestrian, Cyclist"
    ):
        low_thresholds(np.empty(0), np.empty(0, int), ['Car', 'Pedestrian', 'Cyclist'], settings)


def test_quantile_of_each_class():
    settings = cpsp_settings(tau_low_quantile=0.25)
    scores, labels = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.9], np.float32), np.array([0, 0, 0, 0, 0, 1])
    low = low_thresholds(scores, labels, ['Car', 'Pedestrian', 'Cyclist'], settings)
    assert low == pytest.approx({'Car': 0.2, 'Pedestrian': 0.9, 'Cyclist': 0.2})


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'profile': 'relased'}, "unknown CPSP profile 'relased'.*did you mean 'released'"),
        ({'delete_after': 1}, "unknown CPSP setting 'delete_after'.*did you mean 'del_after'"),
        ({'select': 'top'}, "unknown select 'top'"),
        ({'support': 'some'}, "unknown support 'some'"),
        ({'fp_source': 'all'}, "unknown fp_source 'all'"),
        ({'del_after': 0}, 'found del_after 0, expected 1 to 255'),
        ({'del_after': 256}, 'found del_after 256'),
        ({'tau_low_quantile': 1.5}, r'found tau_low_quantile 1.5, expected a share in \[0, 1\]'),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        cpsp_settings(**arguments)


def test_no_cluster_is_a_mistake():
    with pytest.raises(UserError, match="found k_next 0 for class 'Car', expected at least 1"):
        cpsp_settings(k_next={'Car': 0}).clusters(['Car'], False)


def test_json_holds_every_setting():
    settings = cpsp_settings('paper', tau_low={'Car': 0.3})
    assert cpsp_settings('ours', **settings.to_json()) == settings


def stage_of(name='cpsp', **changes):
    """Return a stage of the KITTI experiment after changes by key, as `--cfg-options` makes them."""
    overrides = {f'stages.{name}.{key}': value for key, value in changes.items()}
    return STAGES.build(dict(read_config('ssal3d::ssal/pvrcnn_kitti.py', overrides).stages[name]))


@pytest.mark.parametrize(
    ('key', 'value', 'field'),
    [
        ('bank.del_after', 255, 'del_after'),
        ('bank.k_first', 50, 'k_first'),
        ('bank.k_next', 50, 'k_next'),
        ('bank.measure', 'entropy', 'measure'),
        ('bank.select', 'top_cluster', 'select'),
        ('bank.stability_filter', False, 'stability_filter'),
        ('bank.support', 'confident', 'support'),
        ('bank.match_same_class', True, 'match_same_class'),
    ],
)
@pytest.mark.parametrize('name', ['cpsp', 'final_cpsp'])
def test_what_the_paper_varies_is_a_key_of_the_kitti_stages(name, key, value, field):
    default, changed = (cpsp_settings(**stage.bank) for stage in (stage_of(name), stage_of(name, **{key: value})))
    assert getattr(changed, field) == value != getattr(default, field)
    assert {**changed.to_json(), field: None} == {**default.to_json(), field: None}


def test_refreshes_and_false_positives_are_keys_of_the_kitti_stages():
    assert stage_of(interval=1000).interval == 1000
    none = stage_of(**{f'false_positives.{name}': 0 for name in ('Car', 'Pedestrian', 'Cyclist')})
    assert set(none.false_positives.values()) == {0}
    paper = cpsp_settings(**stage_of(**{'bank.profile': 'paper'}).bank)
    assert (paper.measure, paper.select, paper.support) == ('entropy', 'top_cluster', 'confident')


@pytest.mark.parametrize('quantile', [0.0, 0.5, 1.0])
def test_a_quantile_may_be_0_or_1(quantile):
    assert cpsp_settings(tau_low_quantile=quantile).tau_low_quantile == quantile
