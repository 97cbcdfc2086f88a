"""`ssal3d predict`: numbers out of range are refused before a model is loaded."""

import pytest

from ssal3d.cli.predict import main


@pytest.mark.parametrize(
    'words', [('--batch-size', '0'), ('--frames-per-part', '0'), ('--num-workers', '-1')], ids=' '.join
)
def test_numbers_out_of_range_are_one_line(capsys, words):
    with pytest.raises(SystemExit, match='2'):
        main(['config.py', 'epoch_1.pth', '--out', 'predictions', *words])
    error = capsys.readouterr().err
    assert f'{words[0]}: found {words[1]}, expected' in error
    assert error.count('\n') == 1
