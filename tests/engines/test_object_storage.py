"""Predictions in object storage: written whole, resumed, read and chosen from as from a folder; errors in one line."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
from pyarrow import fs

from ssal3d.active.query.inputs import digest_of_folder
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.predictions import PredictionWriter, places, read_predictions
from ssal3d.predictions.places import MANIFEST, ObjectPath, place
from ssal3d.predictions.pool_inference import predict_pool
from ssal3d.report import write_report
from ssal3d.report.experiment import read_experiment
from ssal3d.report.show import read_shown
from tests.helpers.experiment_folder import Data, write_experiment
from tests.helpers.paths import ROOT
from tests.helpers.tiny_pool import CLASSES, TinyDetector, TinyPool

FRAMES, FIELDS = 14, ('box_features', 'num_points')
CREDENTIALS = {'AWS_ACCESS_KEY_ID': 'test', 'AWS_SECRET_ACCESS_KEY': 'test', 'AWS_DEFAULT_REGION': 'us-east-1'}


@pytest.fixture(scope='module')
def server():
    """The address of an S3 server on this machine with a bucket."""
    if find_spec('moto') is None or find_spec('flask') is None:  # flask comes with moto's server
        pytest.skip("needs an S3 server: install 'ssal3d[engines-test]'")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    address = 'http://{}:{}'.format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**CREDENTIALS, 'AWS_ENDPOINT_URL': address}.items():
            patch.setenv(name, value)
        places._file_system.cache_clear()
        fs.FileSystem.from_uri('s3://pool?allow_bucket_creation=true')[0].create_dir('pool')
        yield address
        places._file_system.cache_clear()
    server.stop()


@pytest.fixture(params=['s3://pool', 'memory://pool'], ids=['Arrow and S3', 'fsspec'])
def store(request, tmp_path):
    """A prefix of its own in a store."""
    if request.param.startswith('s3'):
        request.getfixturevalue('server')
    else:
        pytest.importorskip('fsspec')
    return f'{request.param}/{tmp_path.name}'


def predict(out, frames=FRAMES, **options):
    options = {'batch_size': 2, 'num_workers': 0, 'frames_per_part': 4, 'fields': FIELDS, **options}
    return predict_pool(TinyDetector(), TinyPool(frames), out, **options)


def contents(url):
    return {path.name: path.read_bytes() for path in ObjectPath(url).glob('part-*')}


def remove(path):
    path._system().delete_file(path._path())


def test_a_store_holds_the_bytes_of_a_folder_and_is_read_like_one(store, tmp_path):
    predict(tmp_path / 'here')
    predict(store)
    assert contents(store) == {path.name: path.read_bytes() for path in (tmp_path / 'here').iterdir()}
    found, expected = (read_predictions(where, FIELDS) for where in (store, tmp_path / 'here'))
    assert found.boxes.tobytes() == expected.boxes.tobytes()
    assert found['box_features'].tobytes() == expected['box_features'].tobytes()
    assert found.source == store
    manifest = json.loads((ObjectPath(store) / MANIFEST).read_bytes())
    assert list(manifest['parts']) == sorted(contents(store))
    assert digest_of_folder(store) == digest_of_folder(tmp_path / 'here')


def test_a_pass_that_was_cut_off_goes_on_and_is_not_taken_for_whole(store, monkeypatch):
    monkeypatch.setattr(ObjectPath, 'write_bytes', cut_off_after(2, ObjectPath.write_bytes))
    with pytest.raises(UserError, match='power failure'):
        predict(store)
    monkeypatch.undo()
    kept = contents(store)
    assert sorted(kept) == ['part-00000.parquet', 'part-00001.parquet']
    assert not (ObjectPath(store) / MANIFEST).exists()
    with pytest.raises(UserError, match=f'{store}: found 8 frames, not those of the pass that wrote them'):
        read_predictions(store)
    assert predict(store).frames == FRAMES - 8
    assert {name: content for name, content in contents(store).items() if name in kept} == kept
    assert len(read_predictions(store)) == FRAMES
    assert digest_of_folder(store) == predicted_digest(store)
    with pytest.raises(UserError, match='these are predictions of another run'):
        predict(store, fields=('num_points',))


def predicted_digest(store):
    """The digest without the manifest's help."""
    remove(ObjectPath(store) / MANIFEST)
    return digest_of_folder(store)


def cut_off_after(number, write):
    def cut(path, content):
        cut.calls = getattr(cut, 'calls', 0) + 1
        if cut.calls > number:
            raise UserError('power failure')
        write(path, content)

    return cut


def test_what_the_manifest_names_must_be_there(store):
    predict(store)
    part = ObjectPath(store) / 'part-00002.parquet'
    part.write_bytes(b'PAR1')
    with pytest.raises(UserError, match=r'part-00002\.parquet: found 4 bytes, expected \d+ bytes as in manifest\.json'):
        read_predictions(store)
    remove(part)
    with pytest.raises(UserError, match=r'part-00002\.parquet: found nothing, expected'):
        read_predictions(store)
    assert predict(store).frames == 4  # and a new manifest
    assert len(read_predictions(store)) == FRAMES
    (ObjectPath(store) / MANIFEST).write_bytes(b'{"schema": 1}')
    with pytest.raises(UserError, match=r'manifest\.json: lacks parts'):
        read_predictions(store)


def test_predictions_of_other_programs_need_no_manifest(store):
    with PredictionWriter(store, ['Car'], frames_per_part=2) as writer:
        for frame in range(3):
            writer.add(f'{frame:06d}', bboxes_3d=[[0, 0, 0, 1, 1, 1, 0]], scores_3d=[0.5], labels_3d=[0])
    assert len(read_predictions(store)) == 3
    with PredictionWriter(store, ['Car']) as again, pytest.raises(UserError, match='holds predictions of frame 000001'):
        again.add('000001', bboxes_3d=[[0, 0, 0, 1, 1, 1, 0]], scores_3d=[0.5], labels_3d=[0])


@pytest.mark.parametrize('sampler', ['EntropySampler', 'CALSampler'])
def test_frames_are_selected_from_predictions_in_a_bucket(server, tmp_path, sampler):
    where = f's3://pool/{tmp_path.name}'
    predict(where)
    LabelState.empty(CLASSES, 'pool', TinyPool(FRAMES).frame_ids).write(tmp_path / 'labels.json')
    config = tmp_path / 'entropy.py'
    config.write_text(f"active_sampler = dict(type='{sampler}')\nquery = dict(budget=3, unit='frames')\n")
    queries = []
    for folder in (where, str(tmp_path / 'here')):
        predict(folder)
        out = tmp_path / f'query_{len(queries)}.json'
        words = ['select', str(config), '--predictions', folder, '--labels', str(tmp_path / 'labels.json')]
        words += ['--reference-predictions', folder] if sampler == 'CALSampler' else []
        done = ssal3d(server, *words, '--out', str(out))
        assert done.returncode == 0, done.stderr
        queries.append(json.loads(out.read_text()))
    far, near = queries
    for role in far['inputs'].keys() - {'labels'}:
        assert far['inputs'][role].pop('path') == where
        near['inputs'][role].pop('path')
    assert far['inputs'] == near['inputs']
    assert far['frames'] == near['frames']


@pytest.fixture(scope='module')
def moved(server, tmp_path_factory):
    """An experiment whose queries read predictions that lie in a bucket, as its files say."""
    data = Data(tmp_path_factory.mktemp('data'), frames=10)
    folder = write_experiment(tmp_path_factory.mktemp('run'), data)
    expected = read_experiment(folder).predictions('round_1/query')
    query = folder / 'round_1' / 'query.json'
    content = json.loads(query.read_text())
    content['inputs'] = {}
    for role, stage in (('reference_predictions', 'normal'), ('predictions', 'cpsp')):
        here = folder / 'round_1' / f'predictions_{stage}'
        where = f's3://pool/{folder.name}/{here.name}'
        content['inputs'][role] = {'path': where, 'sha256': digest_of_folder(here)}
        for part in here.iterdir():
            (ObjectPath(where) / part.name).write_bytes(part.read_bytes())
        shutil.rmtree(here)
    query.write_text(json.dumps(content))
    return data, folder, expected


def test_a_report_and_pictures_read_what_was_moved_to_a_bucket(moved, tmp_path):
    data, folder, expected = moved
    found = read_experiment(folder).predictions('round_1/query')
    assert {stage: pool.boxes.tobytes() for stage, pool in found.items()} == {
        stage: pool.boxes.tobytes() for stage, pool in expected.items()
    }
    assert all(pool.source.startswith('s3://pool/') for pool in found.values())
    assert write_report([folder], tmp_path / 'report.html').stat().st_size > 10_000
    where = next(iter(found.values())).source
    with pytest.raises(UserError, match='lies in no experiment; give --annotations and --points'):
        read_shown(where)
    assert read_shown(where, annotations=data.annotations, points=data.root / 'scans').frames == list(
        expected['cpsp'].frame_ids
    )


def ssal3d(server, *words):
    environment = {**os.environ, **CREDENTIALS, 'AWS_ENDPOINT_URL': server, 'PYTHONPATH': str(ROOT)}
    line = [sys.executable, '-m', 'ssal3d', *words]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_errors_of_the_store_are_one_line(server, tmp_path):
    with pytest.raises(UserError, match='s3://pool/none: no part-'):
        read_predictions('s3://pool/none')
    with pytest.raises(
        UserError, match=r's3://no-bucket/x/part-00000\.parquet: cannot be written \(.*\); check the URL'
    ):
        predict('s3://no-bucket/x')
    with pytest.raises(UserError, match='neither Arrow nor fsspec opens s4://'):
        read_predictions('s4://pool/none')
    words = ('select', 'configs/active/entropy_kitti.py', '--labels', str(tmp_path / 'labels.json'), '--out', 'q.json')
    LabelState.empty(CLASSES, 'pool', ['a']).write(tmp_path / 'labels.json')
    done = ssal3d(server, *words, '--predictions', 's3://no-bucket/x')
    assert done.returncode == 2
    assert done.stderr.startswith('error: s3://no-bucket/x: ')
    assert len(done.stderr.splitlines()) == 1


def test_a_store_that_does_not_answer_is_one_line(monkeypatch):
    pytest.importorskip('pyarrow._s3fs')
    for name, value in {**CREDENTIALS, 'AWS_ENDPOINT_URL': 'http://127.0.0.1:9'}.items():
        monkeypatch.setenv(name, value)
    places._file_system.cache_clear()
    try:
        with pytest.raises(UserError, match=r's3://pool/run/manifest\.json: cannot be read \(.*; check the URL'):
            read_predictions('s3://pool/run')
    finally:
        places._file_system.cache_clear()


def test_urls_and_paths_are_told_apart():
    far = place('s3://bucket/run?region=eu-west-1') / 'part-00000.parquet'
    assert str(far) == 's3://bucket/run/part-00000.parquet'
    assert repr(far) == "ObjectPath('s3://bucket/run/part-00000.parquet?region=eu-west-1')"
    assert far.name == 'part-00000.parquet'
    assert not isinstance(place('work_dirs/run'), ObjectPath)
