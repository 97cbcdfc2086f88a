import numpy as np
import pytest

from ssal3d.active.functional.diversity import BLOCK, SelectedFeatures, Similarity, representatives, unit_rows
from ssal3d.errors import UserError

E1, E2, E3 = np.eye(3)


def similarity_of(frames, **options):
    offsets = np.concatenate(([0], np.cumsum([len(frame) for frame in frames])))
    features = np.concatenate([np.reshape(frame, (-1, 3)) for frame in frames])
    return Similarity(features, offsets, [f'frame {k}' for k in range(len(frames))], **options)


def expected_similarity(frames, selected, candidate, div):
    """Equation 5 as it is written, in float64."""

    def unit(rows):
        rows = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)

    scenes = [unit(frames[k]) for k in selected if len(frames[k])]
    if not scenes or not len(frames[candidate]):
        return 0.0
    per_scene = [unit(frames[candidate]) @ scene.T for scene in scenes]
    if div == 'union':
        return np.concatenate(per_scene, axis=1).max(axis=1).clip(0).mean()
    return max(0.0, *(cosines.max(axis=1).mean() for cosines in per_scene))


@pytest.mark.parametrize(('div', 'expected'), [('union', 1.0), ('per_frame', 0.5)])
def test_example_of_the_specification(div, expected):
    similarity = similarity_of([[E1, E2], [E1], [E2]], div=div)
    assert similarity.of(0) == 0
    similarity.add(1)
    similarity.add(2)
    assert similarity.of(0) == expected


@pytest.mark.parametrize('div', ['union', 'per_frame'])
def test_identical_frames_scale_zero_vectors_and_empty_frames(div):
    rng = np.random.default_rng(0)
    frame = rng.random((5, 3))
    zero = np.zeros((1, 3))
    similarity = similarity_of([frame, frame * 17.3, frame[::-1], [], zero, [E1 * 0, E1]], div=div)
    similarity.add(0)
    assert [similarity.of(k) for k in (0, 1, 2)] == [1, 1, 1]
    assert similarity.of(3) == 0
    similarity.add(3)  # nothing to add
    similarity.add(4)
    assert similarity.of(4) == 0
    similarity.add_scene(np.array([E1], dtype=np.float32))
    assert similarity.of(5) == 0.5


@pytest.mark.parametrize('div', ['union', 'per_frame'])
def test_any_interleaving_of_visits_and_additions_gives_equation_5(div):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        frames = [rng.normal(0.3, 1, (rng.integers(0, 6), 3)) for _ in range(40)]
        similarity, selected = similarity_of(frames, div=div), []
        for _ in range(60):
            if rng.random() < 0.3:
                selected.append(int(rng.integers(40)))
                similarity.add(selected[-1])
            else:
                frame = int(rng.integers(40))
                assert similarity.of(frame) == pytest.approx(
                    expected_similarity(frames, selected, frame, div), abs=2e-6
                )


@pytest.mark.parametrize('div', ['union', 'per_frame'])
def test_visits_stop_comparing_at_the_threshold_only(div, monkeypatch):
    monkeypatch.setattr('ssal3d.active.functional.diversity.BLOCK', 10)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        frames = [np.abs(rng.normal(0.3, 1, (rng.integers(0, 6), 3))) for _ in range(100)]
        similarity, selected = similarity_of(frames, div=div), []
        for t_sim in (0.9, 0.97, np.inf):
            for frame, found in similarity.visit(list(range(100)), t_sim):
                exact = expected_similarity(frames, selected, frame, div)
                if found < t_sim:
                    assert found == pytest.approx(exact, abs=2e-6)
                else:
                    assert exact >= t_sim - 2e-6
                if exact < 0.9 and frame not in selected:
                    selected.append(frame)
                    similarity.add(frame)


def test_no_pair_of_features_is_compared_twice(monkeypatch):
    monkeypatch.setattr('ssal3d.active.functional.diversity.BLOCK', 10)
    rng = np.random.default_rng(5)
    frames = [np.abs(rng.normal(0.3, 1, (rng.integers(0, 6), 3))) for _ in range(80)]
    similarity, compared = similarity_of(frames), {}
    update = similarity._update_union

    def spy(group, cosines, seen):
        for frame in group:
            assert compared.get(frame, 0) == seen
            compared[frame] = seen + cosines.shape[1]
        update(group, cosines, seen)

    similarity._update_union = spy
    for t_sim in (0.8, 0.9, 0.99):
        for frame, found in similarity.visit(list(range(80)), t_sim):
            if found < t_sim:
                similarity.add(frame)
    assert len(compared) > 50


def test_clusters_never_raise_the_similarity():
    rng = np.random.default_rng(3)
    frames = [np.abs(rng.normal(0, 1, (6, 3))) for _ in range(60)]
    exact, bounded = similarity_of(frames), similarity_of(frames, cluster=8)
    for frame in range(40):
        exact.add(frame)
        bounded.add(frame)
    found = [(bounded.of(frame), exact.of(frame)) for frame in range(60)]
    assert all(low <= high for low, high in found)
    assert np.mean([high - low for low, high in found]) < 0.1
    assert len(bounded._selected) <= 16


@pytest.mark.parametrize('wrong', [np.nan, np.inf])
def test_broken_features_are_named(wrong):
    similarity = similarity_of([[E1], [], [E1, [0, wrong, 0]], [E2]])
    with pytest.raises(UserError, match='frame 2: box_features'):
        list(similarity.visit([0, 1, 2, 3], 0.9))


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
