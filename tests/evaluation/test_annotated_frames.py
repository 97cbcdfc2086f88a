"""Labelled frames by id or position: what is not there is named, and workers are sent no labels."""

import pickle

import pytest

from ssal3d.errors import UserError
from ssal3d.evaluation.annotated_frames import AnnotatedFrames
from ssal3d.fileio import write_json


@pytest.fixture
def frames(tmp_path):
    def entry(number, **more):
        return {'sample_idx': number, 'lidar_points': {'lidar_path': f'{number:06d}.bin'}, **more}

    path = tmp_path / 'infos.json'
    entries = [entry(3, instances=[]), entry(5, instances=[]), entry(8)]
    write_json(path, {'metainfo': {'categories': {'Car': 0}}, 'data_list': entries})
    return AnnotatedFrames(str(path))


def test_frames_are_found_by_id_and_by_position(frames):
    assert frames.ids == ['000003', '000005', '000008']
    assert frames.metainfo['categories'] == {'Car': 0}
    for frame in ('000005', 1):
        name, info = frames.find(frame)
        assert (name, info['sample_idx']) == ('000005', 5)


@pytest.mark.parametrize('frame', ['000004', 3, -1])
def test_frames_that_are_not_there_are_refused(frames, frame):
    with pytest.raises(UserError, match=rf'infos\.json: no frame {frame}; the metric needs the annotation file of'):
        frames.find(frame)


def test_a_frame_that_nobody_labelled_is_refused(frames):
    with pytest.raises(UserError, match=r'infos\.json: frame 000008 has no labels; evaluate on a labelled split'):
        frames.find('000008')


def test_what_was_read_is_not_sent_to_other_processes(frames):
    frames.find(0)
    copy = pickle.loads(pickle.dumps(frames))
    assert vars(copy) == {'ann_file': frames.ann_file}
    assert copy.find(0)[0] == '000003'
