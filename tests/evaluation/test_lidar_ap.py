"""AP without images: equal to nuScenes' own on the same boxes, and every rule on its own."""

import numpy as np
import pytest

from ssal3d.errors import UserError
from ssal3d.evaluation.lidar_ap import FrameBoxes, LidarSettings, evaluate_lidar, overlap_ap
from ssal3d.evaluation.lidar_matching import match
from ssal3d.ops.boxes import iou_3d

CLASSES = ('car', 'pedestrian')
QUICK = LidarSettings(resamples=0)


def scene(seed, frames=12, missed=0.2, noise=0.7, false=3, ties=False):
    """Labels, and detections that miss some, move the others and invent a few."""
    random = np.random.default_rng(seed)
    rows, found = [], []
    for frame in range(frames):
        for _ in range(random.integers(0, 9)):
            box = [
                *random.uniform((-60, -60, -1), (60, 60, 0)),
                *random.uniform((3, 1.5, 1.2), (5, 2.2, 2)),
                random.uniform(-3, 3),
            ]
            label, points = int(random.integers(2)), int(random.integers(0, 200))
            rows.append((frame, label, points, np.nan, box))
            if random.random() > missed:
                moved = np.array(box) + random.normal(0, noise, 7) * [1, 1, 0.2, 0.05, 0.05, 0.05, 0.1]
                found.append((frame, label, points, random.random(), moved))
        for _ in range(random.integers(0, false + 1)):
            box = [*random.uniform((-60, -60, -1), (60, 60, 0)), 4, 2, 1.5, 0]
            found.append((frame, int(random.integers(2)), 3, random.random(), box))
    if ties:
        found = [(*entry[:3], round(entry[3], 1), entry[4]) for entry in found]
    return boxes(rows), boxes(found), frames


def boxes(rows):
    return FrameBoxes(
        np.array([row[4] for row in rows], dtype=float).reshape(-1, 7),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.int64),
        np.array([row[3] for row in rows], dtype=float),
    )


def one(x, y, frame=0, score=np.nan, points=50, label=0):
    return frame, label, points, score, [x, y, 0, 4, 2, 1.5, 0]


# ---------------------------------------------------------------- against others


def nuscenes_boxes(given, frames):
    from nuscenes.eval.common.data_classes import EvalBoxes
    from nuscenes.eval.detection.data_classes import DetectionBox

    result = EvalBoxes()
    for frame in range(frames):
        own = np.flatnonzero(given.frames == frame)
        result.add_boxes(
            str(frame),
            [
                DetectionBox(
                    sample_token=str(frame),
                    translation=tuple(given.boxes[row, :3]),
                    size=tuple(given.boxes[row, [4, 3, 5]]),
                    rotation=(1, 0, 0, 0),
                    velocity=(0, 0),
                    detection_name=CLASSES[given.labels[row]],
                    detection_score=-1.0 if np.isnan(given.scores[row]) else float(given.scores[row]),
                    attribute_name='',
                )
                for row in own
            ],
        )
    return result


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('ties', [False, True])
def test_it_is_the_ap_of_the_nuscenes_development_kit(seed, ties):
    algo = pytest.importorskip('nuscenes.eval.detection.algo')
    from nuscenes.eval.common.utils import center_distance

    truth, found, frames = scene(seed, noise=(0.2, 0.7, 1.5)[seed % 3], ties=ties)
    theirs = nuscenes_boxes(truth, frames), nuscenes_boxes(found, frames)
    ours = evaluate_lidar(truth, found, CLASSES, frames, QUICK)
    values = []
    for name in CLASSES:
        for distance in QUICK.distances:
            data = algo.accumulate(*theirs, name, center_distance, distance)
            values.append(100 * algo.calc_ap(data, 0.1, 0.1))
            assert ours[name][f'centre_{distance:g}'] == pytest.approx(values[-1], abs=1e-9)
    assert ours['mean']['centre'] == pytest.approx(np.mean(values), abs=1e-9)
    assert 0 < np.mean(values) < 100, 'a comparison that could fail'


@pytest.mark.parametrize('by_distance', [True, False])
def test_matching_equals_the_definition(by_distance):
    truth, found, _ = scene(1, noise=0.3)
    limit = 1.0 if by_distance else 0.5
    matches = match(truth.boxes, truth.frames, found.boxes, found.frames, found.scores, limit, by_distance)
    taken = set()
    for row, partner in zip(matches.order, matches.partner, strict=True):
        same = [g for g in np.flatnonzero(truth.frames == found.frames[row]) if g not in taken]
        if by_distance:
            values = [-np.hypot(*(truth.boxes[g, :2] - found.boxes[row, :2])) for g in same]
            limit_value = -limit
        else:
            values = [iou_3d(truth.boxes[g], found.boxes[row])[0, 0] for g in same]
            limit_value = limit
        best = int(np.argmax(values)) if values else -1
        expected = same[best] if values and values[best] > limit_value else -1
        assert partner == expected
        taken.add(partner)
    assert (np.diff(found.scores[matches.order]) <= 0).all()


def test_the_overlap_ap_by_hand():
    hits = np.array([True, False, True, True])
    # Precision 1, 2/3, 3/4 at recall 1/4, 1/2, 3/4; monotone 1, 3/4, 3/4; nothing beyond 3/4.
    assert overlap_ap(hits, np.ones(4), 4) == pytest.approx((10 * 1 + 20 * 0.75 + 10 * 0) / 40)
    assert overlap_ap(np.array([True] * 3), np.ones(3), 3) == 1


# ---------------------------------------------------------------- rules


def test_perfect_and_absent_detections():
    truth, _, frames = scene(0)
    perfect = FrameBoxes(truth.boxes, truth.labels, truth.frames, truth.points, np.linspace(1, 0.1, len(truth.boxes)))
    result = evaluate_lidar(truth, perfect, CLASSES, frames, QUICK)
    assert result['mean'] == pytest.approx({key: 100 for key in result['mean']})
    assert all(v['centre'] in (None, pytest.approx(100)) for v in result['car']['bands'].values())
    nothing = evaluate_lidar(truth, boxes([]), CLASSES, frames, QUICK)
    assert set(nothing['mean'].values()) == {0.0}
    assert 'car: no detection is of this class' in nothing['warnings']
    unlabelled = evaluate_lidar(boxes([]), perfect, CLASSES, frames, QUICK)
    assert unlabelled['car']['centre'] is None
    assert unlabelled['mean']['centre'] is None


def test_bands_of_distance_ignore_what_lies_elsewhere():
    truth = boxes([one(10, 0), one(40, 0), one(60, 0)])
    found = boxes([one(10, 0, score=0.9), one(40, 0, score=0.8), one(20, 20, score=0.95)])  # near one invented
    bands = evaluate_lidar(truth, found, CLASSES, 1, QUICK)['car']['bands']
    assert [bands[band]['objects'] for band in ('0-30 m', '30-50 m', '50-80 m')] == [1, 1, 1]
    assert bands['30-50 m']['centre'] == pytest.approx(100)
    assert bands['50-80 m']['centre'] == 0
    assert bands['0-30 m']['3d'] == pytest.approx(50), 'the invented one is an error here'


def test_a_detection_across_the_border_belongs_to_its_label():
    truth, found = boxes([one(29.9, 0)]), boxes([one(30.2, 0, score=0.9)])
    bands = evaluate_lidar(truth, found, CLASSES, 1, QUICK)['car']['bands']
    assert bands['0-30 m']['centre'] == pytest.approx(100)
    assert bands['30-50 m']['centre'] is None


def test_bands_of_points():
    truth = boxes([one(10, 0, points=3), one(20, 0, points=300)])
    found = boxes([one(20, 0, score=0.9, points=300)])
    bands = evaluate_lidar(truth, found, CLASSES, 1, QUICK)['car']['bands']
    assert bands['1-5 points']['centre'] == 0
    assert bands['101 points or more']['centre'] == pytest.approx(100)
    unknown = boxes([one(20, 0, score=0.9, points=-1)])
    assert not any('points' in band for band in evaluate_lidar(truth, unknown, CLASSES, 1, QUICK)['car']['bands'])


def test_intervals_hold_the_value_and_shrink_with_frames():
    few, many = (evaluate_lidar(*scene(3, frames=n)[:2], CLASSES, n, LidarSettings(resamples=300)) for n in (15, 150))
    for result in (few, many):
        for key in ('centre', '3d'):
            low, high = result['car'][f'{key}_interval']
            assert 0 <= low <= result['car'][key] <= high <= 100
    width = [np.ptp(result['car']['centre_interval']) for result in (few, many)]
    assert width[1] < 0.6 * width[0]
    again = evaluate_lidar(*scene(3, frames=15)[:2], CLASSES, 15, LidarSettings(resamples=300))
    assert again == few, 'the same draws every time'


def test_frames_of_a_recording_are_drawn_together():
    truth, found, frames = scene(4, frames=40)
    alone = evaluate_lidar(truth, found, CLASSES, frames, LidarSettings(resamples=200))
    together = evaluate_lidar(truth, found, CLASSES, frames, LidarSettings(resamples=200), np.arange(40) // 10)
    assert (alone['settings']['groups'], together['settings']['groups']) == (40, 4)
    assert alone['car']['centre'] == together['car']['centre']
    assert alone['car']['centre_interval'] != together['car']['centre_interval']


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (LidarSettings(ranges=(30.0, 0.0)), 'ranges: found .* two rising numbers'),
        (LidarSettings(points=(1.0,)), 'points: found .* two rising numbers'),
        (LidarSettings(distances=()), 'distances: found'),
    ],
)
def test_settings_are_checked(settings, message):
    truth, found, frames = scene(0)
    with pytest.raises(UserError, match=message):
        evaluate_lidar(truth, found, CLASSES, frames, settings)


def test_sizes_are_checked():
    bad = boxes([(0, 0, 5, 0.9, [1, 2, 3, 4, 0, 1, 0])])
    with pytest.raises(UserError, match='detections, frame 0: found the size 4 x 0 x 1 m'):
        evaluate_lidar(boxes([one(1, 1)]), bad, CLASSES, 1, QUICK)
