"""What a command line may say, and paths with blanks, quotes and other letters in configs."""

import argparse

import pytest

from ssal3d.cli.arguments import add_overrides
from ssal3d.cli.main import main
from ssal3d.configs import load_file, read_config


@pytest.mark.parametrize('words', [['nonsense'], ['a=1', 'nonsense'], ['=1']])
def test_an_override_without_key_or_value_is_named(capsys, words):
    parser = argparse.ArgumentParser()
    add_overrides(parser, 'a=1')
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(['--cfg-options', *words])
    assert ended.value.code == 2
    assert f"--cfg-options: found '{words[-1]}', expected KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize('word', ['a=dict(Car=3,Cyclist=5)', 'a=[1,2', 'a=(1,(2)', 'a=[1,dict(b=2,c=3)]'])
def test_a_value_that_cannot_be_read_is_named(capsys, word):
    parser = argparse.ArgumentParser()
    add_overrides(parser, 'a=1')
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(['--cfg-options', 'b=[1,2]', word])
    assert ended.value.code == 2
    assert f"--cfg-options: the value of '{word}' cannot be read" in capsys.readouterr().err


def test_values_are_those_of_mmengine():
    parser = argparse.ArgumentParser()
    add_overrides(parser, 'a=1')
    words = ['a.Car=3', 'a.Cyclist=5', 'b=[1,2]', 'c=x,y', 'd=0.5', 'e=true', 'f=(1,[2,3])']
    assert parser.parse_args(['--cfg-options', *words]).cfg_options == {
        **{'a.Car': 3, 'a.Cyclist': 5, 'b': [1, 2], 'c': ['x', 'y'], 'd': 0.5, 'e': True, 'f': (1, [2, 3])}
    }


@pytest.mark.parametrize(
    ('words', 'key'),
    [
        (['train'], 'model'),
        (['test', 'epoch_1.pth'], 'model'),
        (['check'], 'model'),
        (['predict', 'epoch_1.pth', '--out', 'predictions'], 'model'),
        (['train', '--cfg-options', 'model.type=VoxelNet'], 'train_cfg'),
        (['test', 'epoch_1.pth', '--cfg-options', 'model.type=VoxelNet'], 'test_cfg'),
    ],
    ids=str,
)
def test_a_config_that_trains_nothing_is_refused(tmp_path, monkeypatch, capsys, words, key):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    (tmp_path / 'sampler.py').write_text("active_sampler = dict(type='CALSampler')\n")
    with pytest.raises(SystemExit) as ended:
        main([words[0], 'sampler.py', *words[1:]])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f'error: sampler.py: has no {key}, expected the config of an experiment')
    assert [path.name for path in tmp_path.iterdir()] == ['sampler.py']


@pytest.mark.parametrize('command', ['create-data kitti --root-path .', 'suggest .'])
@pytest.mark.parametrize('tag', ['../x', '', 'a/b'])
def test_a_prefix_of_files_leads_to_no_other_folder(tmp_path, monkeypatch, capsys, command, tag):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), '--extra-tag', tag])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: --extra-tag: found '{tag}', expected what a file name may")


@pytest.mark.parametrize('command', ['train', 'check', 'predict', 'test', 'select'])
def test_an_option_that_no_command_has_is_refused(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([command, 'ssal3d::ssal/pvrcnn_sim.py', '--nonsense'])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert 'usage: ' in error
    assert 'Traceback' not in error


@pytest.mark.parametrize('folder', ["o'brien", 'two words', 'daten \u00fc [1]', '%s {x} #1', 'a,b=c'])
@pytest.mark.parametrize('way', ['variable', 'option', 'child'])
def test_data_may_lie_anywhere(tmp_path, monkeypatch, folder, way):
    root = tmp_path / folder
    config, overrides = 'ssal3d::ssal/pvrcnn_sim.py', {}
    if way == 'variable':
        monkeypatch.setenv('SSAL3D_SIM', str(root))
    elif way == 'option':
        overrides = {'data_root': str(root)}
    else:
        root.mkdir()
        config = root / 'my config.py'
        config.write_text(f"_base_ = 'ssal3d::ssal/pvrcnn_sim.py'\ndata_root = {str(root)!r}\n", encoding='utf-8')
    found = read_config(config, overrides)
    assert found.pool_dataset.data_root == str(root)
    assert found.val_evaluator.ann_file == f'{root}/kitti_infos_val.pkl'
    found.dump(tmp_path / 'dumped.py')
    assert load_file(tmp_path / 'dumped.py').pool_dataset.data_root == str(root)
