"""`ssal3d predict`: numbers out of range are refused before a model is loaded."""

import pytest

from ssal3d.cli.predict import main, parse_arguments, plan_of
from ssal3d.errors import UserError


@pytest.mark.parametrize(
    'words', [('--batch-size', '0'), ('--frames-per-part', '0'), ('--num-workers', '-1')], ids=' '.join
)
def test_numbers_out_of_range_are_one_line(capsys, words):
    with pytest.raises(SystemExit, match='2'):
        main(['config.py', 'epoch_1.pth', '--out', 'predictions', *words])
    error = capsys.readouterr().err
    assert f'{words[0]}: found {words[1]}, expected' in error
    assert error.count('\n') == 1


@pytest.mark.parametrize('settings', [{'batch_size': 0}, {'num_workers': -1}, {'frames_per_part': 0.5}], ids=str)
def test_so_are_those_of_the_config(settings):
    ((key, value),) = settings.items()
    arguments = parse_arguments(['mine.py', 'epoch_1.pth', '--out', 'predictions'])
    with pytest.raises(UserError, match=rf'mine\.py: pool_dataloader\.{key}: found {value}, expected'):
        plan_of(arguments, {'pool_dataloader': settings})
