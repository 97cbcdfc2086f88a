"""Predictions of several processes come to the first one as they were."""

import pickle

import pytest
import torch

from ssal3d.semi.hssda import gathering
from ssal3d.semi.hssda.levels import FramePrediction, ScoredBoxes


def view(count, seed):
    generator = torch.Generator().manual_seed(seed)
    boxes, s, r = (torch.rand(*shape, generator=generator) for shape in ((count, 7), (count,), (count,)))
    return ScoredBoxes(boxes, s, r, torch.randint(3, (count,), generator=generator))


def predictions(*counts):
    return [
        FramePrediction(f'{place:06d}', view(original, 2 * place), view(other, 2 * place + 1))
        for place, (original, other) in enumerate(counts)
    ]


def require_same(found, expected):
    assert [one.frame_id for one in found] == [one.frame_id for one in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for mine, other in zip((*ours.original, *ours.other), (*theirs.original, *theirs.other), strict=True):
            assert mine.dtype == other.dtype
            assert torch.equal(mine, other)


@pytest.mark.parametrize('counts', [[], [(0, 0)], [(3, 0), (0, 2), (1, 4)]])
def test_columns_are_the_predictions_again(counts):
    own = predictions(*counts)
    require_same(gathering.unpacked(pickle.loads(pickle.dumps(gathering.packed(own)))), own)


def test_the_first_process_has_all(monkeypatch):
    parts = [predictions((2, 1)), [], predictions((0, 3), (5, 5))]
    monkeypatch.setattr(gathering, 'to_rank_0', lambda own: [own, *map(gathering.packed, parts[1:])])
    require_same(gathering.gathered(parts[0]), parts[0] + parts[2])
    monkeypatch.setattr(gathering, 'to_rank_0', lambda own: [])
    assert gathering.gathered(parts[0]) == []
