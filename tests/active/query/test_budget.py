import numpy as np
import pytest

from ssal3d.active.query.budget import spend_budget
from ssal3d.active.query.units import BoxUnit
from ssal3d.active.sampler import Candidate


def shop(costs, budget, *, empty_cost=0, stop_rule='include_crossing'):
    """Walk over frames 0, 1, 2 ... and record everything that happens."""
    events = []

    def order():
        for frame in range(len(costs)):
            events.append(('asked', frame))
            yield Candidate(frame)

    def reveal(frame):
        events.append(('revealed', frame))
        return np.array([costs[frame], 0])

    def price(boxes):
        return float(BoxUnit(empty_cost).prices(boxes[None], ('Car', 'Cyclist'))[0])

    result = spend_budget(
        order(), reveal, lambda frame, boxes: events.append(('told', frame)), price, budget, stop_rule
    )
    return [frame.candidate.frame for frame in result.frames], result, events


@pytest.mark.parametrize(
    ('costs', 'budget', 'rule', 'bought', 'spent', 'stopped'),
    [
        ([4, 4, 4, 4], 10, 'include_crossing', [0, 1, 2], 12, 'budget'),
        ([4, 4, 4, 4], 10, 'exclude_crossing', [0, 1], 8, 'budget'),
        ([4, 4, 4, 4], 12, 'include_crossing', [0, 1, 2], 12, 'budget'),
        ([4, 4, 4, 4], 12, 'exclude_crossing', [0, 1, 2], 12, 'budget'),
        ([0, 2, 0, 3, 0, 1], 5, 'include_crossing', [0, 1, 2, 3], 5, 'budget'),
        ([0, 2, 0, 3, 0, 1], 5, 'exclude_crossing', [0, 1, 2, 3, 4], 5, 'budget'),
        ([2, 2], 5, 'include_crossing', [0, 1], 4, 'pool_exhausted'),
        ([2, 2], 5, 'exclude_crossing', [0, 1], 4, 'pool_exhausted'),
        ([2, 3], 5, 'exclude_crossing', [0, 1], 5, 'budget'),
        ([7], 5, 'exclude_crossing', [], 0, 'budget'),
        ([0, 0], 5, 'include_crossing', [0, 1], 0, 'pool_exhausted'),
        ([], 5, 'include_crossing', [], 0, 'pool_exhausted'),
        ([1], 0, 'include_crossing', [], 0, 'budget'),
        ([], 0, 'exclude_crossing', [], 0, 'budget'),
    ],
)
def test_stop_rules(costs, budget, rule, bought, spent, stopped):
    frames, result, _ = shop(costs, budget, stop_rule=rule)
    assert (frames, result.spent, result.stopped) == (bought, spent, stopped)


def test_the_next_frame_is_asked_for_after_the_sampler_was_told():
    _, _, events = shop([2, 2, 2], 3)
    assert events == [(event, frame) for frame in (0, 1) for event in ('asked', 'revealed', 'told')]


def test_only_the_legacy_rule_looks_before_it_buys():
    _, result, events = shop([2, 2, 2], 3, stop_rule='exclude_crossing')
    assert result.refused == 1
    assert ('revealed', 1) in events
    assert ('told', 1) not in events


def test_empty_frames_can_cost_something():
    frames, result, _ = shop([0, 0, 2, 5], 3, empty_cost=1)
    assert (frames, result.spent) == ([0, 1, 2], 4)


def test_decimal_prices_add_up():
    result = spend_budget(
        map(Candidate, range(9)), lambda frame: np.zeros(1), lambda *told: None, lambda boxes: 0.1, 0.3
    )
    assert (len(result.frames), result.spent) == (3, 0.3)
