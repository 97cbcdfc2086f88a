"""`ssal3d show` draws frames without a display; what nobody bought is drawn without annotations."""

import numpy as np
import pytest
from matplotlib.image import imread, imsave

from ssal3d.cli.show import main
from ssal3d.report.experiment import read_experiment
from ssal3d.report.scenes import DONT_CARE, TRUE
from ssal3d.report.show import draw_frames, read_shown
from tests.helpers.experiment_folder import Data, write_experiment


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return Data(tmp_path_factory.mktemp('data'), frames=10)


@pytest.fixture(scope='module')
def folder(tmp_path_factory, data):
    return write_experiment(tmp_path_factory.mktemp('run'), data)


@pytest.fixture(scope='module')
def experiment(folder):
    return read_experiment(folder)


def run(*words):
    """Run the command and return its exit status."""
    with pytest.raises(SystemExit) as exit_:
        main([str(word) for word in words])
    return exit_.value.code


def has_colour(path, colour):
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return bool((np.abs(imread(path)[..., :3] - wanted).max(-1) < 0.02).any())


def test_a_query_shows_both_models_and_what_was_true(folder, experiment):
    shown = read_shown(folder / 'round_1/query.json')
    query = experiment.queries['round_1/query']
    assert tuple(shown.frames) == query.frame_ids
    view = shown.view(query.frame_ids[0])
    assert [layer.name for layer in view.layers] == ['true', 'cpsp', 'normal']
    assert len(view.layers[0].boxes) == sum(query.frames[0].annotated_boxes.values())
    assert len(view.regions) == 1


def test_predictions_of_unbought_frames_are_drawn_without_annotations(folder, experiment, tmp_path):
    shown = read_shown(folder / 'round_1/predictions_cpsp', {'normal': str(folder / 'round_1/predictions_normal')})
    free = next(name for name in shown.frames if name not in experiment.labels.frame_ids)
    bought = experiment.queries['round_1/query'].frame_ids[0]
    assert [layer.name for layer in shown.view(free).layers] == ['predictions_cpsp', 'normal']
    unpaid, paid = draw_frames(shown, tmp_path, [free, bought])
    assert not has_colour(unpaid, TRUE)
    assert has_colour(paid, TRUE)


def test_a_label_state_shows_its_own_frames_and_no_later_ones(folder, experiment):
    shown = read_shown(folder / 'labels/round_0.json')
    later = experiment.queries['round_1/query'].frame_ids[0]
    assert later not in shown.frames
    assert [layer.name for layer in shown.view(shown.frames[0]).layers] == ['true']
    assert shown.view(later).layers == []


def test_the_camera_image_is_drawn_where_there_is_one(folder, experiment, data, tmp_path):
    frame = experiment.queries['round_1/query'].frame_ids[0]
    image = data.root / 'image_2' / f'{frame}.png'
    image.parent.mkdir()
    imsave(image, np.full((100, 200, 3), 0.5))
    try:
        assert run(folder / 'round_1/query.json', '--frame', frame, '--out', tmp_path) == 0
    finally:
        image.unlink()
        image.parent.rmdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f'{frame}.png', f'{frame}_camera.png']
    assert has_colour(tmp_path / f'{frame}_camera.png', DONT_CARE)


def test_files_outside_an_experiment_need_their_data_named(folder, data, tmp_path, capsys):
    query = tmp_path / 'query.json'
    query.write_bytes((folder / 'round_1/query.json').read_bytes())
    assert run(query, '--out', tmp_path / 'out') == 2
    assert '--annotations and --points' in capsys.readouterr().err
    words = ['--annotations', data.annotations, '--points', data.root / 'scans', '--number', '2']
    assert run(query, '--out', tmp_path / 'out', *words) == 0
    drawn = list((tmp_path / 'out').iterdir())
    assert len(drawn) == 2
    assert not any(has_colour(path, TRUE) for path in drawn)


@pytest.mark.parametrize(
    'words', [('--number', '-3'), ('--number', '0'), ('--min-score', '7'), ('--min-score', 'nan')], ids=' '.join
)
def test_numbers_out_of_range_are_refused(tmp_path, words, capsys):
    assert run(tmp_path / 'query.json', '--out', tmp_path, *words) == 2
    assert f'{words[0]}: found {words[1]}' in capsys.readouterr().err


@pytest.mark.parametrize('content', ['{"schema": 1}', '[]'])
def test_another_file_is_told_what_it_should_be(tmp_path, content, capsys):
    path = tmp_path / 'other.json'
    path.write_text(content)
    assert run(path, '--out', tmp_path) == 2
    assert capsys.readouterr().err.startswith('error: ')
