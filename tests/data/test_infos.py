import copy
import json
import os
import pickle

import mmengine
import numpy as np
import pytest

from ssal3d.data.infos import frame_id, frame_ids, read_infos, without_annotations, write_infos
from ssal3d.errors import UserError


def infos(**frame):
    entry = {'sample_idx': 7, 'lidar_points': {'lidar_path': '000007.bin', 'num_pts_feats': 4}, **frame}
    return {'metainfo': {'categories': {'Car': 2}}, 'data_list': [entry]}


@pytest.mark.parametrize('suffix', ['.pkl', '.json'])
def test_what_is_written_is_read_again(tmp_path, suffix):
    content = infos(plane=[0.0, -1.0, 1e-17, 1.65], instances=[{'bbox': [1.5, 2, 3, 4]}], flag=True, nothing=None)
    write_infos(tmp_path / f'a{suffix}', content)
    assert read_infos(tmp_path / f'a{suffix}') == content


def test_stock_mmengine_reads_what_is_written(tmp_path):
    write_infos(tmp_path / 'a.pkl', infos(plane=np.arange(4, dtype=np.float32), num=np.int64(3), pair=(1, 2)))
    frame = mmengine.load(tmp_path / 'a.pkl')['data_list'][0]
    assert frame['plane'] == [0.0, 1.0, 2.0, 3.0]
    assert type(frame['num']) is int
    assert frame['pair'] == [1, 2]


def test_equal_content_gives_equal_bytes(tmp_path):
    content = infos(token='a frame', other='a frame')
    write_infos(tmp_path / 'a.pkl', content)
    # A round trip through another process makes equal strings different objects and different ones the same.
    write_infos(tmp_path / 'b.pkl', pickle.loads(pickle.dumps(content)))
    unshared = json.loads(json.dumps(content))
    unshared['data_list'][0]['other'] = ''.join(['a ', 'frame'])
    write_infos(tmp_path / 'c.pkl', unshared)
    assert (tmp_path / 'a.pkl').read_bytes() == (tmp_path / 'b.pkl').read_bytes() == (tmp_path / 'c.pkl').read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_infos(tmp_path / 'a.pkl', infos())
    with pytest.raises(TypeError, match='object'):
        write_infos(tmp_path / 'a.pkl', infos(bad=object()))
    assert read_infos(tmp_path / 'a.pkl') == infos()
    assert os.listdir(tmp_path) == ['a.pkl']


@pytest.mark.parametrize('protocol', range(6))
def test_numpy_content_of_stock_converters_is_read(tmp_path, protocol):
    content = infos(
        plane=np.array([1.5, -2.0]),
        single=np.float32(0.25),
        integer=np.int64(-3),
        flag=np.bool_(True),
        names=np.array(['Car', 'Van']),
        mixed=np.array(['Car', None], dtype=object),
        fortran=np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        empty=np.zeros((0, 7), np.float32),
    )
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(content, protocol=protocol))
    frame, expected = read_infos(tmp_path / 'a.pkl')['data_list'][0], content['data_list'][0]
    for key in ('plane', 'names', 'mixed', 'fortran', 'empty'):
        assert frame[key].dtype == expected[key].dtype
        np.testing.assert_array_equal(frame[key], expected[key])
    assert (frame['single'], frame['integer'], frame['flag']) == (0.25, -3, True)


@pytest.mark.parametrize('protocol', [0, 2])
@pytest.mark.parametrize('package', [b'core', b'_core'])
def test_pickles_of_numpy_1_and_2_are_read(tmp_path, protocol, package):
    content = pickle.dumps(infos(plane=np.array([1.5, -2.0]), single=np.float32(0.25)), protocol=protocol)
    renamed = content.replace(b'numpy._core.', b'numpy.core.').replace(b'numpy.core.', b'numpy.%s.' % package)
    assert b'numpy.%s.' % package in renamed
    (tmp_path / 'a.pkl').write_bytes(renamed)
    frame = read_infos(tmp_path / 'a.pkl')['data_list'][0]
    np.testing.assert_array_equal(frame['plane'], [1.5, -2.0])


class Attack:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
@pytest.mark.parametrize('inside', ['metainfo', 'instances', 'array'])
def test_code_in_a_pickle_is_refused_and_named(tmp_path, protocol, inside):
    victim = tmp_path / 'victim'
    attack = Attack(os.system, f'touch {victim}')
    content = {
        'metainfo': lambda: {**infos(), 'metainfo': attack},
        'instances': lambda: infos(instances=[attack]),
        'array': lambda: infos(plane=np.array([attack], dtype=object)),
    }[inside]()
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(UserError, match=r'a\.pkl.*posix\.system'):
        read_infos(tmp_path / 'a.pkl')
    assert not victim.exists()
    pickle.loads((tmp_path / 'a.pkl').read_bytes())
    assert victim.exists(), 'the attack is real: an ordinary reader falls for it'


@pytest.mark.parametrize(
    ('function', 'arguments'),
    [
        (eval, ('1',)),
        (getattr, ({}, 'get')),
        (open, ('x', 'w')),
        (np.load, ('x',)),
        (np.fromfile, ('x',)),
        (type, ('A', (), {})),
    ],
)
def test_harmless_looking_functions_are_refused(tmp_path, function, arguments):
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps({'metainfo': {}, 'data_list': [Attack(function, *arguments)]}))
    with pytest.raises(UserError, match='expected only lists'):
        read_infos(tmp_path / 'a.pkl')


def test_dotted_names_do_not_reach_through_an_allowed_class(tmp_path):
    dotted = b'\x80\x04\x8c\x05numpy\x8c\x12ndarray.tofile.foo\x93.'
    (tmp_path / 'a.pkl').write_bytes(dotted)
    with pytest.raises(UserError, match=r'numpy\.ndarray\.tofile'):
        read_infos(tmp_path / 'a.pkl')


@pytest.mark.parametrize(
    'damage',
    [b'', b'no pickle', pickle.dumps(infos())[:40], b'\x80\x04\x8c\x02idQ.', pickle.dumps(5)],
    ids=['empty', 'text', 'cut', 'persistent id', 'number'],
)
def test_damaged_files_are_named(tmp_path, damage):
    (tmp_path / 'a.pkl').write_bytes(damage)
    with pytest.raises(UserError, match=r'a\.pkl.*convert'):
        read_infos(tmp_path / 'a.pkl')


def test_cut_array_bytes_are_refused(tmp_path):
    content = pickle.dumps(infos(plane=np.arange(4.0)), protocol=4)
    raw = np.arange(4.0).tobytes()
    assert raw in content
    # 32 bytes become 31, with their length adjusted: the array's shape no longer fits.
    (tmp_path / 'a.pkl').write_bytes(content.replace(b'C' + bytes([32]) + raw, b'C' + bytes([31]) + raw[:-1]))
    with pytest.raises(UserError, match=r'a\.pkl'):
        read_infos(tmp_path / 'a.pkl')


def test_other_formats_are_named(tmp_path):
    (tmp_path / 'v1.pkl').write_bytes(pickle.dumps([{'image': {}}]))
    with pytest.raises(UserError, match=r'bare list.*create-data'):
        read_infos(tmp_path / 'v1.pkl')
    (tmp_path / 'coco.json').write_text('{"images": []}')
    with pytest.raises(UserError, match='images'):
        read_infos(tmp_path / 'coco.json')
    (tmp_path / 'bare.json').write_text('{"metainfo": {}, "data_list": [{}]}')
    with pytest.raises(UserError, match='entry 0'):
        read_infos(tmp_path / 'bare.json')
    (tmp_path / 'named.json').write_text(json.dumps(infos(lidar_points={'lidar_path': 'scan\u202f1.bin'})))
    with pytest.raises(UserError, match=r"entry 0 has the lidar_path 'scan\\u202f1.bin'.*rename the scan"):
        read_infos(tmp_path / 'named.json')
    with pytest.raises(UserError, match='no such file'):
        read_infos(tmp_path / 'absent.pkl')


def test_frame_ids():
    content = infos()
    assert frame_ids(content) == ['000007']
    content['data_list'].append(copy.deepcopy(content['data_list'][0]))
    with pytest.raises(UserError, match='000007 is listed twice'):
        frame_ids(content, 'x.pkl')
    assert frame_id({'lidar_points': {'lidar_path': 'a/b/segment-1.x.bin'}}) == 'segment-1.x'


def test_only_sensor_data_is_left_of_an_unlabelled_frame():
    annotations = ('instances', 'cam_instances', 'cam_sync_instances', 'instances_ignore', 'ann_info', 'eval_ann_info')
    annotations += ('annos', 'gt_boxes', 'pts_semantic_mask_path', 'pts_instance_mask_path', 'something_new')
    frame = infos(images={'CAM2': {}}, plane=[0], **dict.fromkeys(annotations, 1))['data_list'][0]
    assert set(without_annotations(frame)) == {'sample_idx', 'lidar_points', 'images', 'plane'}
    assert set(without_annotations(frame, keep=['something_new'])) - set(without_annotations(frame)) == {
        'something_new'
    }
