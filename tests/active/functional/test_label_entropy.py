import numpy as np
import pytest

from ssal3d.active.functional.label_entropy import MODES, label_entropy
from ssal3d.errors import UserError

TABLE = {  # counts: entropies by mode, as in the specification
    (1, 0, 0): (1.0986, 0.9753, 0),
    (4, 0, 0): (0.8676, 0.9753, 0),
    (3, 3, 3): (1.0986, 1.0986, 1.0986),
    (10, 1, 1): (0.5661, 1.0295, 0.5661),
    (8, 2, 0): (0.7595, 1.0369, 0.5004),
    (0, 0, 0): (0, 0, 0),
}


@pytest.mark.parametrize('mode', MODES)
def test_entropies_of_the_specification(mode):
    expected = [values[MODES.index(mode)] for values in TABLE.values()]
    np.testing.assert_allclose(label_entropy(np.array(list(TABLE)), mode), expected, atol=5e-5)


@pytest.mark.parametrize('mode', MODES)
def test_order_of_classes_and_neighbours_do_not_matter(mode):
    counts = np.random.default_rng(0).integers(0, 9, (200, 4))
    found = label_entropy(counts, mode)
    assert (label_entropy(counts[:, [2, 0, 3, 1]], mode) == found).all()
    assert (label_entropy(counts[7:9], mode) == found[7:9]).all()
    assert ((found >= 0) & (found <= np.log(4) + 1e-9)).all()


def test_one_class_no_frames_and_wrong_modes():
    assert label_entropy(np.array([[5], [0]])).tolist() == [0, 0]
    assert label_entropy(np.zeros((0, 3), dtype=int)).shape == (0,)
    with pytest.raises(UserError, match='did you mean'):
        label_entropy(np.zeros((1, 3)), 'crb_cod')
