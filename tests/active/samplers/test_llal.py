"""Learning loss: the highest predicted losses first."""

from dataclasses import replace

import numpy as np
import pytest

from ssal3d.active import QuerySettings, select
from ssal3d.active.samplers import LLALSampler
from ssal3d.errors import UserError
from tests.helpers.active_pools import box, make_pool, unlabelled


def query(losses):
    boxes = [box(score=0.9)]
    pool = make_pool({f'{k}': boxes if k else [] for k in range(len(losses))})
    pool = replace(pool, fields={'predicted_loss': np.array(losses, dtype=np.float32)})
    return select(LLALSampler(), pool, unlabelled(pool), QuerySettings(10**6))


def test_highest_predicted_loss_first_ties_by_frame_id():
    found = query([-1.5, 0.25, 2.0, 0.25, -7.0])
    assert found.frame_ids == ('2', '1', '3', '0', '4')
    assert [frame.utility for frame in found.frames] == [2.0, 0.25, 0.25, -1.5, -7.0]


def test_a_frame_without_boxes_has_a_predicted_loss_too():
    assert query([5.0, 1.0]).frame_ids == ('0', '1')


def test_a_predicted_loss_that_is_no_number_is_named():
    with pytest.raises(UserError, match='utility of frame 1 is not a number'):
        query([0.0, np.nan])
