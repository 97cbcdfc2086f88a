"""The metric for configs: predictions in the LiDAR frame against an annotation file in the camera frame."""

import copy
import json
import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmdet3d.evaluation.metrics import KittiMetric
from mmdet3d.registry import METRICS
from mmdet3d.structures import Box3DMode, CameraInstance3DBoxes, LiDARInstance3DBoxes

from ssal3d.data.infos import write_infos
from ssal3d.data.kitti_format import camera_boxes_to_lidar, camera_image_size, read_calibration, read_split
from ssal3d.data.kitti_infos import frame_info, instance_infos
from ssal3d.data.kitti_objects import KittiObjects, concatenate, parse_objects, read_frames, read_objects
from ssal3d.errors import UserError
from ssal3d.evaluation import frame_metric
from ssal3d.evaluation.kitti_ap import evaluate_kitti
from ssal3d.evaluation.kitti_metric import KittiAPMetric, flat_scalars
from ssal3d.evaluation.kitti_results import NEAREST, annotated_objects, camera_view, detected_objects, image_boxes
from ssal3d.runner import check_evaluation

CATEGORIES = {
    **dict(Pedestrian=0, Cyclist=1, Car=2, Van=3, Truck=4, Person_sitting=5, Tram=6, Misc=7),
    'DontCare': -1,
}
CLASSES = ('Pedestrian', 'Cyclist', 'Car')
SIZES = {'Car': (3.9, 1.5, 1.6), 'Pedestrian': (0.8, 1.7, 0.6), 'Cyclist': (1.8, 1.7, 0.6)}  # l, h, w
# The geometry of a KITTI car, with its small rotations.
LIDAR2CAM = np.array(
    [
        [0.0002, -0.9999, -0.0106, 0.0571],
        [0.0104, 0.0106, -0.9999, -0.0756],
        [0.9999, 0.0001, 0.0105, -0.2694],
        [0, 0, 0, 1],
    ]
)
CAM2IMG = np.array([[721.5, 0, 609.6, 44.86], [0, 721.5, 172.9, 0.2164], [0, 0, 1, 0.002746], [0, 0, 0, 1]])
WIDTH, HEIGHT = 1242, 375
FRAMES = 6


def scene(seed):
    """Boxes (x, y, z, l, h, w, ry) in the camera frame and their classes, well inside the image and apart."""
    rng = np.random.default_rng(seed)
    names = np.array(CLASSES * 8)
    depth = np.repeat(np.arange(8, 32, 3.0), 3)
    side = np.tile((-3.5, 0.0, 3.5), 8) * depth / 12
    boxes = np.array(
        [
            (x, 1.7, z, *SIZES[name], ry)
            for x, z, name, ry in zip(side, depth, names, rng.uniform(-3, 3, 24), strict=True)
        ]
    )
    return boxes, names


def stock_image_boxes(boxes):
    """Image boxes as MMDetection3D computes them."""
    corners = CameraInstance3DBoxes(torch.tensor(boxes)).corners.numpy()
    scaled = np.concatenate((corners, np.ones((*corners.shape[:2], 1))), axis=-1) @ CAM2IMG.T
    pixels = scaled[..., :2] / scaled[..., 2:3]
    limits = np.array([WIDTH - 1, HEIGHT - 1])
    return np.concatenate([np.clip(pixels.min(1), 0, limits), np.clip(pixels.max(1), 0, limits)], axis=1)


def frame(index, *, camera=True):
    boxes, names = scene(index)
    instances = [
        {
            'bbox': bbox.tolist(),
            'bbox_label': CATEGORIES[name],
            'bbox_label_3d': CATEGORIES[name],
            'bbox_3d': box.tolist(),
            'truncated': 0.0,
            'occluded': 0,
            'alpha': 0.0,
            'score': 0.0,
        }
        for box, name, bbox in zip(boxes, names, stock_image_boxes(boxes), strict=True)
    ]
    image = {'lidar2cam': LIDAR2CAM, 'cam2img': CAM2IMG, 'height': HEIGHT, 'width': WIDTH}
    info = {'sample_idx': 100 + index, 'lidar_points': {'lidar_path': f'{100 + index:06d}.bin'}, 'instances': instances}
    if camera:
        return info | {'images': {'CAM2': image}}
    for instance, box in zip(instances, lidar_boxes(boxes), strict=True):
        instance['bbox_3d'] = gravity_centred(box).tolist()
        del instance['bbox'], instance['truncated'], instance['occluded']
    return info


def lidar_boxes(camera_boxes):
    """The way KittiDataset turns annotations into training targets: bottom-centred LiDAR boxes."""
    matrix = np.linalg.inv(LIDAR2CAM)
    return CameraInstance3DBoxes(torch.tensor(camera_boxes)).convert_to(Box3DMode.LIDAR, matrix).tensor.numpy()


def gravity_centred(box):
    return box + np.array([0, 0, box[5] / 2, 0, 0, 0, 0])


def sample(index, boxes=None, names=None, scores=None):
    """A model's output for a frame, as mmengine hands it to metrics; by default the ground truth."""
    camera_boxes, true_names = scene(index)
    boxes = lidar_boxes(camera_boxes) if boxes is None else boxes
    names = true_names if names is None else names
    scores = np.linspace(0.9, 0.1, len(boxes)) if scores is None else scores
    return {
        'sample_idx': index,
        'lidar_path': f'data/kitti/training/velodyne_reduced/{100 + index:06d}.bin',
        'pred_instances_3d': {
            'bboxes_3d': LiDARInstance3DBoxes(torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 7)),
            'scores_3d': torch.as_tensor(scores, dtype=torch.float32),
            'labels_3d': torch.as_tensor([CLASSES.index(name) for name in names], dtype=torch.long),
        },
    }


def write(path, infos):
    write_infos(path, {'metainfo': {'categories': CATEGORIES, 'dataset': 'kitti'}, 'data_list': infos})
    return str(path)


@pytest.fixture
def ann_file(tmp_path):
    return write(tmp_path / 'infos_val.pkl', [frame(index) for index in range(FRAMES)])


def evaluate(ann_file, samples, **options):
    metric = METRICS.build(dict(type='KittiAPMetric', ann_file=ann_file, **options))
    metric.dataset_meta = {'classes': CLASSES}
    for start in range(0, len(samples), 2):  # batches of two
        metric.process({}, samples[start : start + 2])
    return metric.evaluate(len(samples))


def test_ground_truth_through_the_lidar_frame_scores_100(ann_file):
    scalars = evaluate(ann_file, [sample(index) for index in range(FRAMES)])
    assert len(scalars) == 4 * 3 * 2 * 3
    assert {'kitti/Car_bev_R40_moderate', 'kitti/mean_3d_R11_hard', 'kitti/Cyclist_2d_R40_easy'} <= set(scalars)
    assert set(scalars.values()) == {100.0}


def test_a_wrong_yaw_sign_costs(ann_file):
    samples = [sample(index) for index in range(FRAMES)]
    for one in samples:
        one['pred_instances_3d']['bboxes_3d'].tensor[:, 6] *= -1
    scalars = evaluate(ann_file, samples)
    assert scalars['kitti/Car_bev_R40_moderate'] < 40
    assert scalars['kitti/Car_3d_R40_moderate'] < 40


def test_a_gravity_centre_taken_for_a_bottom_centre_costs(ann_file):
    samples = [sample(index) for index in range(FRAMES)]
    for one in samples:
        one['pred_instances_3d']['bboxes_3d'].tensor[:, 2] += 0.8
    scalars = evaluate(ann_file, samples)
    assert scalars['kitti/Car_bev_R40_moderate'] == 100
    assert scalars['kitti/Car_3d_R40_moderate'] < 5


def test_frames_are_matched_by_name_not_by_position(ann_file):
    chosen = (4, 1, 5)
    samples = [sample(index) for index in chosen]
    for position, one in enumerate(samples):
        one['sample_idx'] = position  # what a subset of the data set would say
    assert set(evaluate(ann_file, samples, small_sets=True).values()) == {100.0}


def test_without_a_path_the_position_counts(ann_file):
    samples = [sample(index) for index in range(FRAMES)]
    for one in samples:
        del one['lidar_path']
    assert set(evaluate(ann_file, samples).values()) == {100.0}


def test_a_frame_of_another_file_is_a_user_error(ann_file):
    stranger = sample(0)
    stranger['lidar_path'] = 'x/000777.bin'
    with pytest.raises(UserError, match=r'infos_val\.pkl: no frame 000777'):
        evaluate(ann_file, [stranger])


def test_unlabelled_frames_cannot_be_evaluated(tmp_path):
    info = frame(0)
    del info['instances']
    with pytest.raises(UserError, match='frame 000100 has no labels'):
        evaluate(write(tmp_path / 'test.pkl', [info]), [sample(0)])


def test_a_label_without_name_is_a_user_error(tmp_path):
    info = frame(0)
    info['instances'][0]['bbox_label'] = 99
    with pytest.raises(UserError, match='found the label 99, expected one of the categories'):
        evaluate(write(tmp_path / 'val.pkl', [info]), [sample(0)])


def test_settings_are_checked_before_training(ann_file):
    for options, message in (
        ({'classes': ['Cra']}, "unknown class 'Cra'.*did you mean 'Car'"),
        ({'iou_thresholds': {'Car': 1.5}}, 'IoU threshold of Car'),
        ({'iou_thresholds': {'Bus': 0.5}}, "unknown class 'Bus'"),
    ):
        metric = KittiAPMetric(ann_file, **options)
        with pytest.raises(UserError, match=message):
            metric.dataset_meta = {'classes': CLASSES}


def test_thresholds_and_classes_can_be_chosen(ann_file):
    samples = [sample(index) for index in range(FRAMES)]
    for one in samples:
        one['pred_instances_3d']['bboxes_3d'].tensor[:, :2] += 0.35
    scalars = evaluate(ann_file, samples, classes=['Car'], iou_thresholds={'Car': {'bev': 0.4}}, prefix='val')
    assert {key.split('_')[0] for key in scalars} == {'val/Car', 'val/mean'}
    assert scalars['val/Car_bev_R40_moderate'] == 100
    assert scalars['val/Car_3d_R40_moderate'] < 100


def test_class_labels_are_names_not_positions(ann_file):
    metric = KittiAPMetric(ann_file)
    metric.dataset_meta = {'classes': ('Car', 'Pedestrian', 'Cyclist')}
    for index in range(FRAMES):
        one = sample(index)
        names = scene(index)[1]
        order = torch.tensor([metric.dataset_meta['classes'].index(name) for name in names])
        one['pred_instances_3d']['labels_3d'] = order
        metric.process({}, [one])
    assert set(metric.evaluate(FRAMES).values()) == {100.0}


def test_no_predictions_score_zero(ann_file):
    nothing = [sample(index, boxes=np.zeros((0, 7)), names=[]) for index in range(FRAMES)]
    assert set(evaluate(ann_file, nothing).values()) == {0.0}


def test_boxes_that_are_not_finite_are_left_out_and_named(ann_file, monkeypatch):
    logged = []
    monkeypatch.setattr(frame_metric, 'tell', lambda text, *_, **__: logged.append(text))
    samples = [sample(index) for index in range(FRAMES)]
    samples[3]['pred_instances_3d']['bboxes_3d'].tensor[0, 0] = float('nan')
    samples[3]['pred_instances_3d']['scores_3d'][1] = float('inf')
    scalars = evaluate(ann_file, samples)
    assert 95 < scalars['kitti/mean_3d_R40_moderate'] <= 100
    assert any('frame 000103: 2 of 24 predicted boxes are not finite' in text for text in logged)


def test_dont_care_and_neighbours_come_from_the_annotation_file(tmp_path):
    infos = [frame(index) for index in range(FRAMES)]
    for row in infos[0]['instances']:
        if row['bbox_label'] == CATEGORIES['Car']:
            row['bbox_label'] = CATEGORIES['Van']
    scalars = evaluate(write(tmp_path / 'vans.pkl', infos), [sample(index) for index in range(FRAMES)], small_sets=True)
    assert scalars['kitti/Car_3d_R40_moderate'] == 100  # the detected vans are no errors
    for row in infos[0]['instances']:
        if row['bbox_label'] == CATEGORIES['Van']:
            row |= {'bbox_label': -1, 'bbox_3d': [-1000.0, -1000, -1000, -1, -1, -1, -10]}
    scalars = evaluate(write(tmp_path / 'dc.pkl', infos), [sample(index) for index in range(FRAMES)], small_sets=True)
    assert scalars['kitti/Car_2d_R40_moderate'] == 100
    assert scalars['kitti/Car_3d_R40_moderate'] < 100


# --- frames without a camera ------------------------------------------------------------------------------------------


def test_lidar_only_frames_are_evaluated_in_bev_and_3d(tmp_path):
    ann_file = write(tmp_path / 'lidar.pkl', [frame(index, camera=False) for index in range(FRAMES)])
    scalars = evaluate(ann_file, [sample(index) for index in range(FRAMES)])
    assert set(scalars.values()) == {100.0}
    assert {key.split('_')[1] for key in scalars} == {'bev', '3d'}
    assert 'kitti/mean_3d_R40_moderate' in scalars
    worse = [sample(index) for index in range(FRAMES)]
    for one in worse:
        one['pred_instances_3d']['bboxes_3d'].tensor[:, 6] *= -1
    assert evaluate(ann_file, worse)['kitti/Car_3d_R40_moderate'] < 40


def test_lidar_only_frames_keep_boxes_behind_the_car(tmp_path):
    info = frame(0, camera=False)
    box = [-20.0, 3.0, -0.9, 3.9, 1.6, 1.5, 0.4]
    info['instances'] = [{'bbox_label_3d': CATEGORIES['Car'], 'bbox_3d': box}]
    found = np.array([box]) - (0, 0, 0.75, 0, 0, 0, 0)
    scalars = evaluate(write(tmp_path / 'l.pkl', [info]), [sample(0, found, ['Car'])], small_sets=True)
    assert scalars['kitti/Car_3d_R40_easy'] == 100
    assert 'kitti/Pedestrian_3d_R40_easy' not in scalars


def test_lidar_only_frames_take_the_difficulty_of_the_file(tmp_path):
    infos = [frame(index, camera=False) for index in range(FRAMES)]
    for info in infos:
        for position, row in enumerate(info['instances']):
            row['difficulty'] = (0, 1, 2, -1)[position // 3 % 4]
    missed = [sample(index) for index in range(FRAMES)]
    for one in missed:
        predicted = one['pred_instances_3d']
        keep = torch.arange(24) // 3 % 4 < 2  # hard ones and those beyond are not found
        for key in predicted:
            predicted[key] = predicted[key][keep]
    scalars = evaluate(write(tmp_path / 'd.pkl', infos), missed, small_sets=True)
    assert scalars['kitti/Car_3d_R40_easy'] == scalars['kitti/Car_3d_R40_moderate'] == 100
    assert 50 < scalars['kitti/Car_3d_R40_hard'] < 80


# --- before training --------------------------------------------------------------------------------------------------


def ready(ann_file, **options):
    metric = KittiAPMetric(ann_file, **options)
    metric.dataset_meta = {'classes': CLASSES}
    return metric


@pytest.fixture
def logged(monkeypatch):
    lines = []
    monkeypatch.setattr(frame_metric, 'tell', lambda text, *_, **__: lines.append(text))
    return lines


def test_good_labels_pass_without_a_word(ann_file, logged):
    ready(ann_file).check_frames(None)
    ready(ann_file).check_frames(['000101', '000104'])
    assert logged == []


def test_unlabelled_frames_are_found_before_training(tmp_path):
    infos = [frame(index) for index in range(FRAMES)]
    del infos[2]['instances'], infos[4]['instances']
    path = write(tmp_path / 'val.pkl', infos)
    with pytest.raises(UserError, match='2 of 6 frames to evaluate have no labels, the first is 000102'):
        ready(path).check_frames(None)
    ready(path).check_frames(['000100', '000101'])
    with pytest.raises(UserError, match='no frame 000999'):
        ready(path).check_frames(['000999'])


def test_labels_of_size_zero_are_found_before_training(tmp_path):
    info = frame(0)
    info['instances'][1]['bbox_3d'][4] = 0.0
    with pytest.raises(UserError, match=r'val\.pkl, frame 000100: object 2 .* expected more than 0'):
        ready(write(tmp_path / 'val.pkl', [info])).check_frames(None)


def test_nothing_to_measure_is_said_before_training(tmp_path, logged):
    infos = [frame(0), frame(1)]
    for info in infos:
        info['instances'] = [row for row in info['instances'] if row['bbox_label'] == CATEGORIES['Cyclist']]
    ready(write(tmp_path / 'val.pkl', infos), classes=['Car']).check_frames(None)
    assert len(logged) == 1
    assert 'no object of the classes Car in 2 frames, so nothing can be measured' in logged[0]


@pytest.mark.parametrize('frames_without', [FRAMES, 3])
def test_labels_without_image_boxes_are_evaluated_in_bev_and_3d(tmp_path, logged, frames_without):
    infos = [frame(index) for index in range(FRAMES)]
    for info in infos[:frames_without]:
        for row in info['instances']:
            row['bbox'] = [0.0, 0.0, 0.0, 0.0]
    path = write(tmp_path / 'val.pkl', infos)
    ready(path).check_frames(None)
    assert f'{24 * frames_without} of {24 * FRAMES} labels have no image box' in logged[0]
    scalars = evaluate(path, [sample(index) for index in range(FRAMES)])
    assert {key.split('_')[1] for key in scalars} == {'bev', '3d'}
    assert set(scalars.values()) == {100.0}


def test_the_runner_asks_its_metrics_before_it_trains(tmp_path):
    asked = []

    class Metric:
        def check_frames(self, frames):
            asked.append(frames)

    dataset = SimpleNamespace(frame_ids=['a', 'b'])
    evaluator = SimpleNamespace(metrics=[Metric(), object()])
    check_evaluation(SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset), evaluator=evaluator))
    check_evaluation(SimpleNamespace(dataloader=SimpleNamespace(dataset=object()), evaluator=evaluator))
    assert asked == [['a', 'b'], None]


# --- conversion -------------------------------------------------------------------------------------------------------


def test_conversion_agrees_with_mmdetection3d(ann_file):
    stock = KittiMetric(ann_file, pcd_limit_range=[-100, -100, -10, 100, 100, 10])
    info = copy.deepcopy(frame(0))
    rng = np.random.default_rng(0)
    boxes = np.column_stack(
        (rng.uniform((6, -20, -2), (60, 20, 0), (200, 3)), rng.uniform(1, 5, (200, 3)), rng.uniform(-7, 7, 200))
    ).astype(np.float32)
    predicted = {
        'bboxes_3d': LiDARInstance3DBoxes(torch.tensor(boxes)),
        'scores_3d': torch.linspace(1, 0, 200),
        'labels_3d': torch.zeros(200, dtype=torch.long),
    }
    expected = stock.convert_valid_bboxes(copy.deepcopy(predicted), info)
    ours = detected_objects(
        np.array([gravity_centred(box) for box in boxes]),
        predicted['scores_3d'].numpy(),
        ['Car'] * 200,
        camera_view(info),
    )
    assert 50 < len(ours) < 200
    np.testing.assert_allclose(ours.scores, expected['scores'], atol=1e-6)
    camera = expected['box3d_camera']
    np.testing.assert_allclose(ours.location, camera[:, :3], atol=1e-4)
    np.testing.assert_allclose(ours.dimensions, camera[:, [4, 5, 3]], atol=1e-5)
    turned = (ours.rotation_y - camera[:, 6] + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(turned, 0, atol=1e-4)
    clipped = np.clip(expected['bbox'], 0, [WIDTH - 1, HEIGHT - 1] * 2)
    np.testing.assert_allclose(ours.bbox, clipped, atol=0.05)
    alpha = camera[:, 6] - np.arctan2(camera[:, 0], camera[:, 2])
    np.testing.assert_allclose((ours.alpha - alpha + np.pi) % (2 * np.pi) - np.pi, 0, atol=1e-4)
    assert (np.abs(ours.alpha) <= np.pi).all()


def test_the_image_projection_can_come_from_lidar2img():
    info = frame(0)
    image = info['images']['CAM2']
    image['lidar2img'] = image.pop('cam2img') @ image['lidar2cam']
    np.testing.assert_allclose(camera_view(info).projection, CAM2IMG, atol=1e-9)
    assert camera_view({'images': {}}) is None
    assert camera_view({}) is None


def test_only_what_lies_before_the_camera_is_projected():
    def project(x, z, length=4.0):
        objects = parse_objects(f'Car 0 0 0 0 0 9 9 1.5 2.0 {length} {x} 1.7 {z} {-np.pi / 2}', 'x')
        return image_boxes(objects, CAM2IMG, (WIDTH, HEIGHT))[0]

    assert np.isnan(project(0, -20)).all()
    assert np.isnan(project(200, 20)).all()
    assert not np.isnan(project(0, 20)).any()
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 9), np.linspace(0, 1, 9), np.linspace(-1, 1, 4001)), -1).reshape(
        -1, 3
    )
    for x in (3.0, 0.0):  # boxes that reach behind the camera: the points before it tell the truth
        points = np.array([x, 1.7, 0.5]) + grid * (1.0, -1.5, 2.0)
        points = points[points[:, 2] >= NEAREST]
        scaled = points @ CAM2IMG[:3, :3].T + CAM2IMG[:3, 3]
        pixels = np.clip(scaled[:, :2] / scaled[:, 2:], 0, [WIDTH - 1, HEIGHT - 1])
        np.testing.assert_allclose(project(x, 0.5), [*pixels.min(0), *pixels.max(0)], atol=1)
    assert project(3.0, 0.5)[0] > WIDTH / 2  # a car on the right, which a flipped projection would spread everywhere


def test_official_labels_survive_the_way_through_the_lidar_frame(kitti_labels):
    names = {label: name for name, label in CATEGORIES.items()}
    frame_ids = read_split(kitti_labels / 'ImageSets' / 'val.txt')[:600]
    truth, detections = [], []
    for frame_id in frame_ids:
        labels = read_objects(kitti_labels / 'training' / 'label_2' / f'{frame_id}.txt')
        calibration = read_calibration(kitti_labels / 'training' / 'calib' / f'{frame_id}.txt')
        nothing = np.zeros((0, 4), dtype=np.float32)
        instances = instance_infos(labels, calibration, nothing)
        size = camera_image_size(calibration)
        info = frame_info(frame_id, 0, calibration=calibration, image_size=size, instances=instances)
        view = camera_view(info)
        truth.append(annotated_objects(info, names, view))
        cared = labels[labels.names != 'DontCare']
        boxes = camera_boxes_to_lidar(cared, calibration).astype(np.float32)
        detections.append(detected_objects(boxes, np.linspace(1, 0.1, len(cared)), cared.names, view))
    together = concatenate(truth)
    again = read_frames(kitti_labels / 'training' / 'label_2', frame_ids)
    for column in KittiObjects.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(together.objects, column), getattr(again.objects, column))
    metrics = evaluate_kitti(together, concatenate(detections), CLASSES)
    assert min(metrics['settings']['ground_truths']['Cyclist'].values()) > 40
    for name in CLASSES:
        assert {metrics[name][m]['R40'][d] for m in ('bev', '3d') for d in ('easy', 'moderate', 'hard')} == {100.0}


# --- files, and several processes -------------------------------------------------------------------------------------


def test_result_files_score_the_same_as_the_metric(ann_file, tmp_path):
    rng = np.random.default_rng(0)
    samples = [sample(index) for index in range(FRAMES)]
    for one in samples:
        boxes = one['pred_instances_3d']['bboxes_3d'].tensor
        boxes += torch.tensor(rng.normal(0, 0.08, boxes.shape), dtype=torch.float32)
    (tmp_path / 'out' / 'detections').mkdir(parents=True)
    (tmp_path / 'out' / 'detections' / 'stale.txt').write_text('from an earlier evaluation')
    scalars = evaluate(ann_file, samples, result_dir=str(tmp_path / 'out'))
    metrics = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    assert {f'kitti/{key}': value for key, value in flat_scalars(metrics).items()} == scalars
    names = [f'{100 + index:06d}' for index in range(FRAMES)]
    assert sorted(path.stem for path in (tmp_path / 'out' / 'detections').iterdir()) == names
    detections = read_frames(tmp_path / 'out' / 'detections', names, detections=True)
    labels = tmp_path / 'labels'
    labels.mkdir()
    for index, name in enumerate(names):
        rows = zip(*scene(index), stock_image_boxes(scene(index)[0]), strict=True)
        text = ''.join(
            f'{kind} 0 0 0 {" ".join(map(str, bbox))} {h} {w} {length} {x} {y} {z} {ry}\n'
            for (x, y, z, length, h, w, ry), kind, bbox in rows
        )
        (labels / f'{name}.txt').write_text(text)
    again = flat_scalars(evaluate_kitti(read_frames(labels, names), detections, CLASSES))
    assert {f'kitti/{key}': pytest.approx(value, abs=0.5) for key, value in again.items()} == scalars
    assert 20 < scalars['kitti/Cyclist_3d_R40_moderate'] < 100


def work(rank, store, ann_file, results):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    metric = KittiAPMetric(ann_file)
    metric.dataset_meta = {'classes': CLASSES}
    metric.process({}, [sample(index % (FRAMES - 1)) for index in range(rank, FRAMES, 2)])  # the last one is padding
    results.put(metric.evaluate(FRAMES - 1))
    results.close()
    results.join_thread()
    dist.destroy_process_group()


def test_results_of_several_processes_are_collected(ann_file, tmp_path):
    context = multiprocessing.get_context('fork')  # a fresh process would import MMDetection3D for many seconds
    results = context.Queue()
    workers = [context.Process(target=work, args=(rank, tmp_path / 'store', ann_file, results)) for rank in range(2)]
    try:
        for worker in workers:
            worker.start()
        both = [results.get(timeout=120) for _ in workers]
        for worker in workers:
            worker.join(timeout=60)
        assert [worker.exitcode for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    # Five frames hold 40 objects of each class, one short of what official sampling needs.
    assert both[0] == both[1] == evaluate(ann_file, [sample(index) for index in range(FRAMES - 1)])
    assert both[0]['kitti/Car_3d_R40_moderate'] == 97.5
    assert len(both[0]) == 72
