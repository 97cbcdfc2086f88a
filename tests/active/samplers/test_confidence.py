"""Confidence selection: examples computed by hand."""

from ssal3d.active import QuerySettings, select
from ssal3d.active.samplers import ConfidenceSampler
from tests.helpers.active_pools import box, make_pool, unlabelled


def utilities(scores, **options):
    pool = make_pool({f'{k}': [box(score=score) for score in frame] for k, frame in enumerate(scores)})
    query = select(ConfidenceSampler(**options), pool, unlabelled(pool), QuerySettings(10**6))
    return {frame.frame_id: frame.utility and round(frame.utility, 6) for frame in query.frames}


def test_mean_doubt_of_the_final_boxes():
    found = utilities([[0.9, 0.8], [0.5], []])
    assert found == {'1': 0.5, '0': 0.15, '2': None}
    assert list(found) == ['1', '0', '2']


def test_a_single_confidence_is_not_constant():
    """The CRB code takes a softmax over one column, which gives every frame the same utility."""
    assert len(set(utilities([[0.2], [0.5], [0.9]]).values())) == 3


def test_margin_and_least_confident_box():
    assert utilities([[0.9, 0.6], [0.2]], mode='margin') == {'0': 0.5, '1': 0.4}
    assert utilities([[0.9, 0.6], [0.2, 0.95]], pool='max') == {'1': 0.8, '0': 0.4}
