import numpy as np

from ssal3d.active.functional.selected_features import BLOCK, SelectedFeatures, representatives, unit_rows


def read_all(features, seen=0):
    blocks = []
    while seen < features.total:
        rows, seen = features.block(seen)
        blocks.append(rows)
    return blocks


def test_unit_rows_keep_zero_rows_and_ignore_scale():
    rows = np.array([[3, 4], [0, 0], [6e4, 8e4]], dtype=np.float64)
    np.testing.assert_allclose(unit_rows(rows), [[0.6, 0.8], [0, 0], [0.6, 0.8]], atol=1e-7)
    half = np.full((2, 256), 60000, dtype=np.float16)
    np.testing.assert_allclose(unit_rows(half), 1 / 16, rtol=1e-3)
    assert unit_rows(np.zeros((0, 5))).shape == (0, 5)


def test_blocks_give_every_feature_once_and_end_with_a_frame():
    rng = np.random.default_rng(0)
    features, ends, everything = SelectedFeatures(3), [0], []
    for _ in range(400):
        rows = rng.random((rng.integers(1, 30), 3), dtype=np.float32)
        features.add(rows)
        everything.append(rows)
        ends.append(ends[-1] + len(rows))
    assert features.total == len(features) == ends[-1] > 4 * BLOCK
    blocks = read_all(features)
    np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate(everything))
    assert set(np.cumsum([len(block) for block in blocks])) <= set(ends)
    assert max(len(block) for block in blocks) < BLOCK + 30
    seen = ends[57]
    np.testing.assert_array_equal(np.concatenate(read_all(features, seen)), np.concatenate(everything)[seen:])


def test_representatives_are_features_and_cover_the_groups():
    rng = np.random.default_rng(1)
    groups = np.eye(5, dtype=np.float32)
    rows = unit_rows(np.repeat(groups, 40, axis=0) + 0.05 * rng.random((200, 5), dtype=np.float32))
    kept = representatives(rows, 5)
    assert len(kept) == 5
    assert sorted(kept.argmax(axis=1)) == [0, 1, 2, 3, 4]
    assert {row.tobytes() for row in kept} <= {row.tobytes() for row in rows}
    np.testing.assert_array_equal(representatives(rows, 5), kept)
    assert sorted(representatives(groups[[1, 0, 1, 1]], 2).argmax(axis=1)) == [0, 1]  # all that differ


def test_clusters_bound_memory_and_late_readers_see_new_features_only():
    rng = np.random.default_rng(2)
    features = SelectedFeatures(4, cluster=10)
    for _ in range(60):
        features.add(unit_rows(rng.random((7, 4))))
        assert len(features) <= 20
    assert features.total == 420
    assert len(np.concatenate(read_all(features))) == len(features)
    seen, size = features.total, len(features)
    latest = unit_rows(rng.random((1, 4)))
    features.add(latest)
    assert len(features) == size + 1, 'choose sizes such that this addition triggers no clustering'
    np.testing.assert_array_equal(np.concatenate(read_all(features, seen)), latest)
