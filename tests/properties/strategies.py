"""Boxes, frames and pools as hypothesis draws them."""

from math import pi

import numpy as np
from hypothesis import strategies as st

CLASSES = ('Car', 'Pedestrian', 'Cyclist')


def numbers(low, high):
    """Numbers as they come, and round ones, which make sides touch."""
    return st.one_of(st.floats(low, high), st.integers(int(np.ceil(low)), int(high)).map(float))


YAWS = st.one_of(st.floats(-pi, pi, exclude_max=True), st.integers(-2, 1).map(lambda quarter: quarter * pi / 2))
SIZES = st.one_of(st.floats(0.1, 12), st.sampled_from((0.5, 1.0, 2.0, 4.0)))


def box_rows(reach=6.0):
    """One box within some metres of the origin; the smaller the reach, the more boxes overlap."""
    place = numbers(-reach, reach)
    return st.tuples(place, place, numbers(-2, 2), SIZES, SIZES, SIZES, YAWS)


def boxes(least=1, most=6, reach=6.0):
    """``(N, 7)`` boxes."""
    return st.lists(box_rows(reach), min_size=least, max_size=most).map(lambda rows: np.array(rows).reshape(-1, 7))


SCENES = st.lists(st.lists(st.tuples(box_rows(60.0), st.integers(0, 2)), max_size=5), min_size=2, max_size=6)
