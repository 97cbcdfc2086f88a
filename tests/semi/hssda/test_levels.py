"""Levels of pseudo labels against brute force and the worked examples of the specification."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

import ssal3d.register  # noqa: F401
from ssal3d.errors import UserError
from ssal3d.ops import boxes as reference
from ssal3d.ops.torch_boxes import best_bev_iou, overlap_3d
from ssal3d.semi.hssda.levels import (
    DEFAULTS,
    FramePrediction,
    Level,
    LevelRules,
    ScoredBoxes,
    assign_levels,
    estimate_thresholds,
    high_labels,
    is_step_label,
    points_to_remove,
    score_pools,
    two_centre_thresholds,
)

CLASSES = ('Car', 'Pedestrian')
EXAMPLE = {name: {'s': (0.9, 0.6), 'r': (0.9, 0.5), 'view_iou': (0.9, 0.7)} for name in CLASSES}
NONE = torch.empty(0, 7)


def random_boxes(rng, count, span=12.0):
    centres = rng.uniform((-span, -span, -1), (span, span, 1), (count, 3))
    return torch.tensor(
        np.column_stack((centres, rng.uniform(0.5, 5, (count, 3)), rng.uniform(-4, 4, count))), dtype=torch.float32
    )


def random_view(rng, count):
    return ScoredBoxes(
        random_boxes(rng, count),
        *torch.tensor(rng.uniform(0, 1, (2, count)), dtype=torch.float32),
        torch.tensor(rng.integers(0, 2, count)),
    )


def best_split(values):
    """The best of all two-cluster splits of sorted values, by the sum of squares."""
    values = np.sort(values)
    cut = min(range(1, len(values)), key=lambda k: k * values[:k].var() + (len(values) - k) * values[k:].var())
    return round(values[cut:].mean(), 2), round(values[:cut].mean(), 2)


class TestThresholds:
    def test_worked_examples(self):
        assert two_centre_thresholds(np.array([0.55, 0.60, 0.65, 0.92, 0.94, 0.96]), (0.99, 0.99)) == (0.94, 0.6)
        assert two_centre_thresholds(np.array([0.1, 0.9]), DEFAULTS['r']) == (0.95, 0.95)
        assert two_centre_thresholds(np.empty(0), DEFAULTS['view_iou']) == (0.93, 0.93)

    def test_released_truncation(self):
        """H07: a centre of 0.8999999 becomes 0.89."""
        values = np.array([0.5, 0.7, 0.85, 0.95])
        assert two_centre_thresholds(values, (1, 1), truncate=True) == (0.89, 0.6)
        assert two_centre_thresholds(values, (1, 1)) == (0.9, 0.6)
        assert two_centre_thresholds(np.array([1e-5, 1e-5, 0.5]), (1, 1), truncate=True) == (0.5, 0.0)

    def test_equal_values(self):
        assert two_centre_thresholds(np.full(5, 0.7), (1, 1)) == (0.7, 0.7)

    def test_is_the_best_split_whatever_the_order(self):
        rng = np.random.default_rng(0)
        for _ in range(20):
            values = rng.beta(2, 1, rng.integers(3, 60))
            assert two_centre_thresholds(values, (1, 1)) == best_split(values)
            assert two_centre_thresholds(rng.permutation(values), (1, 1)) == best_split(values)

    def test_is_what_k_means_converges_to(self):
        rng = np.random.default_rng(1)
        values = np.concatenate((rng.normal(0.9, 0.03, 300), rng.normal(0.5, 0.1, 200)))
        centres = KMeans(2, n_init=10, random_state=0).fit(values[:, None]).cluster_centers_[:, 0]
        np.testing.assert_allclose(two_centre_thresholds(values, (1, 1)), sorted(centres)[::-1], atol=0.0051)


class TestPools:
    def brute_force(self, frames, label, one_to_one):
        pools = {'s': [], 'r': [], 'view_iou': []}
        for (_, original, other), known in frames:
            chosen = []
            for view in (original, other):
                support = reference.bev_iou(view.boxes.numpy(), known.numpy()).sum(1)
                chosen.append([k for k in range(len(support)) if support[k] >= 0.5 and view.labels[k] == label])
            pools['s'] += original.s[chosen[0]].tolist()
            pools['r'] += original.r[chosen[0]].tolist()
            iou = reference.bev_iou(original.boxes[chosen[0]].numpy(), other.boxes[chosen[1]].numpy())
            while iou.size and iou.max() > 0:
                row, column = np.unravel_index(iou.argmax(), iou.shape)
                pools['view_iou'].append(iou[row, column])
                iou[row, column] = 0
                if one_to_one:
                    iou[row], iou[:, column] = 0, 0
        return pools

    @pytest.mark.parametrize('one_to_one', [True, False])
    def test_equals_brute_force(self, one_to_one):
        rng = np.random.default_rng(1)
        frames = []
        for known in (60, 0, 30):
            original, other = random_view(rng, 90), random_view(rng, 80)
            frames.append((FramePrediction('a', original, other), random_boxes(rng, known, 9.0)))
        pools = score_pools(iter(frames), CLASSES, one_to_one)
        for label, name in enumerate(CLASSES):
            for cue, values in self.brute_force(frames, label, one_to_one).items():
                assert len(values) > 3
                np.testing.assert_allclose(np.sort(pools[name][cue]), np.sort(values), atol=1e-5)

    def test_nothing_known_gives_the_defaults(self):
        rng = np.random.default_rng(2)
        pools = score_pools([(FramePrediction('a', random_view(rng, 5), random_view(rng, 0)), NONE)], CLASSES)
        assert estimate_thresholds(pools) == dict.fromkeys(CLASSES, DEFAULTS)

    def test_predictions_of_the_other_view_may_be_missing(self):
        rng = np.random.default_rng(3)
        view = random_view(rng, 5)
        pools = score_pools([(FramePrediction('a', view, random_view(rng, 0)), view.boxes)], CLASSES)
        assert sum(len(pool['s']) for pool in pools.values()) == 5
        assert sum(len(pool['view_iou']) for pool in pools.values()) == 0


class TestLevels:
    def assign(self, rows, no_mid=('Pedestrian',)):
        cues, names, overlaps = zip(*rows)
        rules = LevelRules.of(EXAMPLE, CLASSES, no_mid)
        labels = torch.tensor([CLASSES.index(name) for name in names])
        levels = assign_levels(*torch.tensor(cues).T, labels, torch.tensor(overlaps), rules)
        return levels.tolist(), is_step_label(levels, labels, rules).tolist()

    def test_worked_example(self):
        levels, step_labels = self.assign(
            [
                ((0.95, 0.95, 0.95), 'Car', False),
                ((0.80, 0.70, 0.80), 'Car', False),
                ((0.80, 0.40, 0.80), 'Car', False),
                ((0.05, 0.95, 0.95), 'Car', False),
                ((0.95, 0.95, 0.95), 'Car', True),
                ((0.80, 0.70, 0.80), 'Pedestrian', False),
                ((0.95, 0.95, 0.95), 'Pedestrian', False),
            ]
        )
        assert levels == [Level.HIGH, Level.MID, Level.LOW, Level.IGNORED, Level.IGNORED, Level.LOW, Level.HIGH]
        assert step_labels == [True, True, False, False, False, False, False]

    def test_mid_level_of_all_classes(self):
        levels, step_labels = self.assign([((0.8, 0.7, 0.8), 'Pedestrian', False)], no_mid=())
        assert (levels, step_labels) == ([Level.MID], [True])

    def test_thresholds_must_be_exceeded(self):
        assert self.assign([((0.9, 0.95, 0.95), 'Car', False), ((0.6, 0.7, 0.8), 'Car', False)])[0] == [2, 1]

    def test_class_names(self):
        assert LevelRules.of(EXAMPLE, ('Car',)).mid.tolist() == [True]  # the default needs no pedestrians
        with pytest.raises(UserError, match=r"unknown class in no_mid 'Pedestrain'.*did you mean 'Pedestrian'"):
            LevelRules.of(EXAMPLE, CLASSES, ('Pedestrain',))
        with pytest.raises(UserError, match="class 'Cyclist' is missing"):
            LevelRules.of(EXAMPLE, (*CLASSES, 'Cyclist'))

    def test_no_predictions(self):
        none = torch.empty(0)
        rules = LevelRules.of(EXAMPLE, CLASSES)
        assert assign_levels(none, none, none, none.long(), none.bool(), rules).shape == (0,)


class TestOverlaps:
    def test_equal_the_reference(self):
        rng = np.random.default_rng(4)
        a, b = random_boxes(rng, 40), random_boxes(rng, 30)
        np.testing.assert_allclose(best_bev_iou(a, b), reference.bev_iou(a.numpy(), b.numpy()).max(1), atol=1e-5)
        assert (overlap_3d(a, b).numpy() == (reference.iou_3d(a.numpy(), b.numpy()) > 0)).all()
        assert best_bev_iou(a, NONE).tolist() == [0] * 40
        assert overlap_3d(NONE, b).shape == (0, 30)


class TestHighLabels:
    def test_points_and_overlaps(self):
        box = torch.tensor([0, 0, 0, 4, 2, 2, 0.3])
        boxes = box + torch.tensor([[20.0], [10], [0], [30]]) * torch.eye(7)[0]
        cloud = torch.cat([boxes[k, :3] + torch.zeros(n, 3) for k, n in enumerate((5, 6, 9, 9))])
        levels = torch.tensor([Level.HIGH, Level.HIGH, Level.HIGH, Level.MID])
        known = box[None] + torch.tensor([3.0, 0, 0.9, 0, 0, 0, 0])  # touches the third
        assert high_labels(levels, boxes, cloud, known).tolist() == [False, True, False, False]
        assert high_labels(levels, boxes, cloud, NONE).tolist() == [False, True, True, False]
        assert high_labels(levels, boxes, torch.empty(0, 3), NONE).tolist() == [False] * 4
        assert high_labels(levels[:0], NONE, cloud, known).shape == (0,)

    def test_mining_twice_adds_nothing(self):
        rng = np.random.default_rng(5)
        boxes, cloud = random_boxes(rng, 20, 60.0), torch.tensor(rng.uniform(-60, 60, (20000, 3)), dtype=torch.float32)
        cloud[:, 2] /= 60
        levels = torch.full((20,), int(Level.HIGH))
        mined = high_labels(levels, boxes, cloud, NONE)
        assert mined.sum() > 5
        assert mined.tolist() == (reference.points_per_box(cloud.numpy(), boxes.numpy()) >= 6).tolist()
        assert not (high_labels(levels, boxes, cloud, boxes[mined]) & mined).any()


class TestPointsToRemove:
    def test_equals_brute_force(self):
        rng = np.random.default_rng(6)
        cloud = torch.tensor(rng.uniform((-12, -12, -2, 0), (12, 12, 2, 1), (5000, 4)), dtype=torch.float32)
        raw, labels = random_boxes(rng, 25), random_boxes(rng, 6)
        free = [k for k in range(25) if not reference.iou_3d(raw[k : k + 1].numpy(), labels.numpy()).any()]
        expected = reference.points_in_boxes(cloud.numpy(), raw[free].numpy()) >= 0
        found = points_to_remove(cloud, raw, labels)
        assert found.tolist() == expected.tolist()
        assert 0 < len(free) < 25
        assert 0 < found.sum() < len(cloud)

    def test_nothing_to_do(self):
        rng = np.random.default_rng(7)
        cloud, boxes = torch.zeros(4, 4), random_boxes(rng, 2)
        assert points_to_remove(cloud, NONE, boxes).tolist() == [False] * 4
        assert points_to_remove(cloud, boxes, boxes).tolist() == [False] * 4
        assert points_to_remove(cloud[:0], boxes, NONE).shape == (0,)

    def test_pedestrian_that_is_no_label_loses_its_points(self):
        """Worked example: without mid level neither a label nor an exemption from removal."""
        box = torch.tensor([[5, 0, 0, 0.8, 0.6, 1.7, 0.0]])
        cloud = torch.tensor([[5, 0, 0, 0.5], [9, 0, 0, 0.5]])
        assert points_to_remove(cloud, box, NONE).tolist() == [True, False]
        assert points_to_remove(cloud, box, box).tolist() == [False, False]
