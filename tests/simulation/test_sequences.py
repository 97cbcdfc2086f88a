import numpy as np

from ssal3d.simulation.sequences import split_frames, step_of


def test_every_frame_has_one_place_in_one_sequence():
    steps = [step_of(3, frame) for frame in range(500)]
    for frame, step in enumerate(steps):
        assert step.sequence + step.step == frame
        assert 0 <= step.step < step.length <= 8
        assert step == step_of(3, frame), 'a pure function'
    lengths = np.bincount([step.length for step in steps if step.step == 0])
    assert lengths[1] > lengths[4] > 0, 'single frames are the most frequent, near-duplicates exist'


def test_order_and_neighbours_do_not_matter():
    backwards = {frame: step_of(11, frame) for frame in reversed(range(200))}
    assert all(backwards[frame] == step_of(11, frame) for frame in range(200))
    assert any(step_of(11, frame) != step_of(12, frame) for frame in range(64))


def test_no_sequence_straddles_the_split():
    train, val = split_frames(0, 1000, 200)
    assert len(val) == 200
    assert sorted(train + val) == list(range(1000))
    assert not {step_of(0, frame).sequence for frame in train} & {step_of(0, frame).sequence for frame in val}
    assert split_frames(0, 50, 0)[1] == []
