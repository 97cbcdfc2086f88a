"""Hostile files: planted code never runs, and no file is written or read outside of where it belongs."""

import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from ssal3d.annotation import archives
from ssal3d.annotation.archives import unpacked
from ssal3d.annotation.format import build_format
from ssal3d.annotation.provenance import NAME, Export
from ssal3d.arrays import load_array
from ssal3d.data.infos import read_infos
from ssal3d.errors import UserError, one_line
from ssal3d.fileio import is_file_name
from ssal3d.loop.journal import Journal
from tests.helpers.paths import ROOT


class Planted:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (os.mkdir, (str(self.trace),))


@pytest.fixture
def planted(tmp_path):
    """The object, and a check afterwards that nobody ran it."""
    trace = tmp_path / 'owned'
    yield Planted(trace)
    assert not trace.exists()


def test_the_planted_object_works_where_nothing_protects(tmp_path):
    pickle.loads(pickle.dumps(Planted(tmp_path / 'owned')))
    assert (tmp_path / 'owned').is_dir()


@pytest.mark.parametrize('protocol', range(6))
def test_infos_run_nothing(tmp_path, planted, protocol):
    path = tmp_path / 'infos.pkl'
    path.write_bytes(pickle.dumps({'metainfo': {}, 'data_list': [planted]}, protocol=protocol))
    with pytest.raises(UserError, match=r"infos\.pkl: found the object '\w+\.mkdir', expected only lists"):
        read_infos(path)


def test_what_mmdetection3d_unpickles_itself_runs_nothing(tmp_path, planted):
    """Stock data sets read annotation files and databases of objects (dbinfos) with `mmengine.load`."""
    from mmengine.fileio import load

    from ssal3d import compat

    compat.apply_all()
    (tmp_path / 'dbinfos.pkl').write_bytes(pickle.dumps({'Car': [{'name': 'Car', 'box3d_lidar': planted}]}))
    with pytest.raises(UserError, match=r"not readable as plain data \(found the object '\w+\.mkdir'"):
        load(str(tmp_path / 'dbinfos.pkl'))
    plain = {'Car': [{'name': 'Car', 'box3d_lidar': np.arange(7.0), 'difficulty': np.int64(1)}]}
    (tmp_path / 'dbinfos.pkl').write_bytes(pickle.dumps(plain))
    np.testing.assert_equal(load(str(tmp_path / 'dbinfos.pkl')), plain)


@pytest.mark.parametrize('zipped', [True, False])
def test_checkpoints_run_nothing(tmp_path, planted, zipped):
    import torch

    from ssal3d import compat
    from ssal3d.models.foreign import read_weights
    from ssal3d.models.loading import is_readable

    compat.apply_all()
    path = tmp_path / 'epoch_1.pth'
    torch.save({'state_dict': {'a': torch.ones(1)}, 'meta': planted}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r'damaged or holds more than weights \(it names \w+\.mkdir\); copy it'):
        read_weights(path)
    assert not is_readable(path)


def test_arrays_of_objects_run_nothing(tmp_path, planted):
    np.save(tmp_path / 'x.npy', np.array([planted, None], dtype=object), allow_pickle=True)
    for mode in (None, 'r'):
        with pytest.raises(UserError, match=r'x\.npy: not readable as a NumPy file of numbers'):
            load_array(tmp_path / 'x.npy', 'write it again', mmap_mode=mode)


def test_attachments_of_recordings_run_nothing(tmp_path, planted):
    writer = pytest.importorskip('mcap.writer')
    with open(tmp_path / 'x.mcap', 'wb') as stream:
        out = writer.Writer(stream)
        out.start()
        channel = out.register_channel(
            '/ssal3d/labels', 'json', out.register_schema('SceneUpdate', 'jsonschema', b'{}')
        )
        out.add_message(channel, log_time=1, publish_time=1, data=b'{"entities": []}')
        out.add_attachment(0, 0, 'frames.json', 'application/octet-stream', pickle.dumps(planted))
        out.finish()
    (problem,) = build_format('mcap').read(tmp_path).problems
    assert 'not readable as MCAP' in problem.text


def zip_of(path, name, mode=0o644):
    with zipfile.ZipFile(path, 'w') as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        archive.writestr(entry, 'target')


def tar_of(path, name, kind=tarfile.REGTYPE):
    with tarfile.open(path, 'w') as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, '/etc/passwd', 6 if kind == tarfile.REGTYPE else 0
        archive.addfile(entry, io.BytesIO(b'target'))


@pytest.mark.parametrize(
    'name', ['../x.json', '/x.json', 'labels/../../x.json', '..\\x.json', 'C:\\x.json', 'a/../../x']
)
@pytest.mark.parametrize('make', [zip_of, tar_of])
def test_archives_cannot_write_outside(tmp_path, monkeypatch, make, name):
    inside = tmp_path / 'deep' / 'in'
    inside.mkdir(parents=True)
    monkeypatch.setattr(archives.tempfile, 'tempdir', str(inside))
    path = tmp_path / ('back.zip' if make is zip_of else 'back.tar')
    make(path, name)
    with pytest.raises(UserError, match='expected plain files inside'), unpacked(path):
        pass
    assert sorted(found.name for found in tmp_path.rglob('*')) == sorted([path.name, 'deep', 'in'])


@pytest.mark.parametrize('make', [zip_of, tar_of])
def test_archives_are_known_by_content_and_colons_in_names_are_no_drives(tmp_path, make):
    """Frames are named by their time, and archives renamed on their way."""
    for name in ('back', 'BACK.ZIP', 'back.gz'):
        make(tmp_path / name, 'labels/2026-01-01_10:00:00.json')
        with unpacked(tmp_path / name) as (folder, shown):
            assert [path.name for path in folder.glob('labels/*')] == ['2026-01-01_10:00:00.json']
            assert shown == str(tmp_path / name)


@pytest.mark.parametrize('make', [zip_of, tar_of])
def test_what_macos_adds_to_archives_is_no_label(tmp_path, make):
    for name in ('labels/._000.json', '__MACOSX/labels/000.json'):
        make(tmp_path / 'back', name)
        with unpacked(tmp_path / 'back') as (folder, _):
            assert not list(folder.rglob('*.json'))


def test_the_end_of_a_tar_is_not_taken_for_a_zip(tmp_path):
    zip_of(tmp_path / 'inner.zip', 'inner.json')
    with tarfile.open(tmp_path / 'back.tar', 'w') as archive:
        archive.add(tmp_path / 'inner.zip', 'inner.zip')
    assert zipfile.is_zipfile(tmp_path / 'back.tar')
    with unpacked(tmp_path / 'back.tar') as (folder, _):
        assert [path.name for path in folder.iterdir()] == ['inner.zip']


def test_links_and_devices_in_archives_are_refused(tmp_path):
    tar_of(tmp_path / 'link.tar', 'x.json', tarfile.SYMTYPE)
    tar_of(tmp_path / 'device.tar', 'x.json', tarfile.CHRTYPE)
    zip_of(tmp_path / 'link.zip', 'x.json', mode=0o120777)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(UserError, match='expected plain files inside'), unpacked(path):
            pass


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, '_ALWAYS', 1000)
    with zipfile.ZipFile(tmp_path / 'back.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('x.json', bytes(10**6))
    with pytest.raises(UserError, match='unpacks to 1000000 bytes, expected at most'), unpacked(tmp_path / 'back.zip'):
        pass


@pytest.mark.parametrize('name', ['../a', '/etc/a', '..', 'a/b', 'a\\b', 'a\x00', '\x1b[2J'])
def test_frame_ids_of_foreign_files_stay_in_their_folder(tmp_path, name):
    assert not is_file_name(name)
    (tmp_path / 'labels').mkdir()
    content = {'schema': 1, 'frame_id': name, 'boxes': []}
    (tmp_path / 'labels' / 'x.json').write_text(json.dumps(content))
    (problem,) = build_format('json').read(tmp_path).problems
    assert 'expected a file name' in problem.text
    entry = {'file': 'x.bin', 'points': 1, 'prelabels': []}
    head = {'tool': 'json', 'options': {}, 'batch': 'b', 'created': '', 'round': 1, 'pool': {}, 'classes': []}
    (tmp_path / NAME).write_text(json.dumps({'schema': 1, **head, 'class_map': {}, 'frames': {name: entry}}))
    with pytest.raises(UserError, match='is not a file name'):
        Export.read(tmp_path)


@pytest.mark.parametrize('name', ['../../secret', '/etc/passwd'])
def test_a_journal_names_files_of_its_folder_only(tmp_path, name):
    step = {'step': 'initial', 'digest': '', 'files': {name: 'x'}}
    (tmp_path / 'journal.json').write_text(json.dumps({'schema': 1, 'steps': [step]}))
    with pytest.raises(UserError, match='expected files of its folder'):
        Journal(tmp_path)


UNSAFE = {  # what runs what a file says, or writes where it says, and the one module that may
    r'pickle\.loads?\(|marshal\.|joblib|dill': None,
    r'weights_only\s*=\s*False|allow_pickle\s*=\s*True': None,
    r'(?<![.\w])(eval|exec)\(': None,
    r'yaml\.(load|unsafe_load|full_load)\(|shell\s*=\s*True|os\.system\(|mktemp\(': None,
    r'pickle\.Unpickler': 'plain_pickle.py',
    r'\.extractall\(': 'annotation/archives.py',
    r'np\.load\(': 'arrays.py',
}


@pytest.mark.parametrize('pattern', UNSAFE)
def test_what_can_run_files_stands_in_one_place_or_nowhere(pattern):
    package = ROOT / 'ssal3d'
    found = {str(path.relative_to(package)) for path in package.rglob('*.py') if re.search(pattern, path.read_text())}
    assert found == ({UNSAFE[pattern]} if UNSAFE[pattern] else set())


def test_messages_cannot_drive_a_terminal():
    shown = one_line(UserError('a\x1b[2J\x07\u202eb\ud800'))
    assert shown == 'a\\x1b[2J\\x07\\u202eb\\ud800'
    assert len(one_line(UserError('x' * 10**6))) < 1300


def test_names_from_files_reach_the_terminal_escaped(tmp_path):
    path = tmp_path / 'labels.json'
    path.write_text(json.dumps({'schema': 1, 'classes': ['Car'], 'pool': {'name': 'x'}, 'frames': [{'\x1b[2J': 1}]}))
    command = [
        sys.executable,
        'tools/al_select.py',
        'configs/active/random_kitti.py',
        '--frames',
        str(path),
        '--labels',
        str(path),
    ]
    done = subprocess.run([*command, '--out', str(tmp_path / 'q')], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert '\x1b' not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith('error: ')
