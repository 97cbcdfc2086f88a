"""The length of a stage in frames."""

from types import SimpleNamespace

import numpy as np
import pytest

from ssal3d.data.determinism import SeededRepeatDataset
from ssal3d.errors import UserError
from ssal3d.semi.dataset import PairedSemiDataset
from ssal3d.semi.hssda.dataset import PoolSemiDataset
from ssal3d.semi.hssda.stage import HSSDAStage
from ssal3d.semi.stage import TeacherStudentStage
from ssal3d.stages.supervised import SupervisedStage


class Frames:
    """A view whose sample is the number of its frame."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, position):
        instances = SimpleNamespace(labels_3d=[0])
        return {'frame': position, 'data_samples': SimpleNamespace(gt_instances_3d=instances)}


def seen(dataset, epochs):
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        yield [dataset[index]['frame'] for index in range(len(dataset))]


@pytest.mark.parametrize('count', [3, 7, 20])
def test_every_frame_is_seen_equally_often_whatever_the_length_of_an_epoch(count):
    epochs = list(seen(SeededRepeatDataset(Frames(count), seed=1, length=5), 12))
    assert [len(epoch) for epoch in epochs] == [5] * 12
    assert np.ptp(np.bincount(np.concatenate(epochs), minlength=count)) <= 1
    assert epochs == list(seen(SeededRepeatDataset(Frames(count), seed=1, length=5), 12))
    assert count == 3 or epochs != list(seen(SeededRepeatDataset(Frames(count), seed=2, length=5), 12))


def test_without_a_length_an_epoch_repeats_the_frames():
    (epoch,) = seen(SeededRepeatDataset(Frames(3), repeat=2), 1)
    assert epoch == [0, 1, 2, 0, 1, 2]


def test_a_pool_of_labelled_and_unlabelled_frames_is_mixed(monkeypatch, tmp_path):
    dataset = PoolSemiDataset(Frames(4), Frames(36), tmp_path, length=10)
    dataset.set_epoch(0)
    positions = [dataset.position(index) for index in range(10)]
    assert len(set(positions)) == 10
    later = []
    for epoch in range(4):
        dataset.set_epoch(epoch)
        later += [dataset.position(index) for index in range(10)]
    assert sorted(later) == list(range(40))


def test_stages_of_equal_frames_have_epochs_of_equal_cost():
    method = {'type': 'IoUMatch3D'}
    assert SupervisedStage(epochs=4, frames=2000).length() == {'length': 500}
    assert TeacherStudentStage(method, epochs=4, frames=2000).length() == {
        'length': 250
    }  # of a labelled and an unlabelled frame
    assert HSSDAStage(epochs=4, frames=2000).length() == {'length': 500}
    assert SupervisedStage(epochs=4, repeat=3).length() == {'repeat': 3}
    dataset = PairedSemiDataset(Frames(3), Frames(0), [], [], length=7)
    assert len(dataset) == 7


def test_fewer_frames_than_epochs_are_refused():
    with pytest.raises(
        UserError, match=r'TeacherStudentStage: found frames=7, expected at least 8, a sample in each of 4 epochs'
    ):
        TeacherStudentStage({'type': 'IoUMatch3D'}, epochs=4, frames=7)
