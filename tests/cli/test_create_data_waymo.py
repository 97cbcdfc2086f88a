"""`ssal3d create-data waymo`: options, table, exit codes and one-line errors."""

import pytest

from ssal3d.cli.create_data import main
from ssal3d.data.infos import read_infos
from tests.helpers import waymo_scene
from tests.helpers.waymo_scene import write_records


@pytest.fixture
def root(tmp_path):
    frames = [waymo_scene.frame(number) for number in range(3)]
    for name in ('a', 'b'):
        write_records(tmp_path / 'raw' / 'training' / f'{name}.tfrecord', frames, segment=name)
    return tmp_path / 'raw'


def run(capsys, root, *words, code=0):
    command = ['waymo', '--root-path', str(root), '--out-dir', str(root.parent / 'out'), '--workers', '1', *words]
    with pytest.raises(SystemExit) as ended:
        main(command)
    captured = capsys.readouterr()
    assert ended.value.code == code, captured.err
    return captured.out if code == 0 else captured.err


def test_a_split_is_converted_and_shown(capsys, root):
    shown = run(capsys, root, '--interval', 'training=2', '--extra-tag', 'tiny')
    infos = root.parent / 'out' / 'tiny_infos_train.pkl'
    assert [info['sample_idx'] for info in read_infos(infos)['data_list']] == ['a_000', 'a_002', 'b_000', 'b_002']
    assert 'training' in shown
    assert f'annotations written to {infos}' in shown


def test_shards_say_that_others_are_missing(capsys, root):
    assert 'not yet written: other segments are missing' in run(capsys, root, '--shard', '0/2')
    assert 'annotations written to' in run(capsys, root, '--shard', '1/2')


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--interval', '20'], "--interval: found '20', expected SPLIT=N"),
        (['--shard', '3'], "--shard: found '3', expected I/N"),
        (['--shard', '4/2'], 'shard: found 4 of 2'),
        (['--splits', 'validation'], 'download the split from'),
    ],
)
def test_mistakes_are_one_line(capsys, root, words, message):
    error = run(capsys, root, *words, code=2)
    assert error.count('\n') == 1
    assert message in error
