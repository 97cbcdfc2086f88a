"""The paste database: the same as a refresh without predictions, whatever cuts it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.cutting import check_points, cut_labelled_objects
from ssal3d.bank.generation import FILES
from ssal3d.cpsp.refresh import refresh
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.errors import UserError
from tests.helpers.cpsp_builders import CLASSES, RandomPool, same

TRAINED = ('Cyclist', 'Car')  # a Pedestrian leaves the background only


def annotated(pool):
    rng = np.random.default_rng(0)
    frames = ((name, *zip(*pool.objects[name]), rng.random(len(pool.objects[name])) < 0.8) for name in pool.ids)
    return LabelledObjects.from_frames(frames)


def test_a_paste_database_is_a_refresh_without_predictions():
    pool = RandomPool(6)
    labelled = annotated(pool)
    cut = cut_labelled_objects(pool.load_points, TRAINED, labelled)
    refreshed = refresh(pool.load_points, TRAINED, cpsp_settings(), labelled=labelled)
    assert len(cut.objects) > 10
    for name in FILES:
        assert getattr(cut, name).dtype == getattr(refreshed, name).dtype
        assert getattr(cut, name).tobytes() == getattr(refreshed, name).tobytes()
    assert cut.meta == {key: refreshed.meta[key] for key in cut.meta}


def test_threads_change_no_byte():
    pool = RandomPool(6)
    with ThreadPoolExecutor(3) as executor:
        threaded = cut_labelled_objects(pool.load_points, CLASSES, annotated(pool), executor)
    assert same(threaded, cut_labelled_objects(pool.load_points, CLASSES, annotated(pool)))


def test_nothing_to_cut_from_is_named():
    with pytest.raises(UserError, match='at least one labelled frame, found none'):
        cut_labelled_objects(lambda _: None, CLASSES, LabelledObjects.from_frames([]))


def test_clouds_of_unequal_columns_are_named():
    clouds = {'a': np.zeros((3, 4), np.float32), 'b': np.zeros((3, 5), np.float32)}
    labelled = LabelledObjects.from_frames([(name, np.zeros((0, 7)), []) for name in clouds])
    with pytest.raises(UserError, match='frame b: load_points returned 5 columns, expected 4 as in frame a'):
        cut_labelled_objects(clouds.get, CLASSES, labelled)


@pytest.mark.parametrize(
    'points', [np.zeros((4, 4)), np.zeros((4, 2), np.float32), np.zeros(4, np.float32), [[0, 0, 0, 0]], None]
)
def test_unusable_clouds_are_named(points):
    with pytest.raises(
        UserError, match=r'frame 000007: load_points returned .*, expected \(N, C\) float32 with C >= 3'
    ):
        check_points(points, '000007')
