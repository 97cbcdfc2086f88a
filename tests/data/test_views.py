import copy
import io
import logging
import pickle

import numpy as np
import pytest
import torch
from mmdet3d.datasets import KittiDataset
from mmdet3d.registry import DATASETS
from mmengine.dataset import RepeatDataset
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

import ssal3d.bank.transforms
import ssal3d.data.kitti_dataset
import ssal3d.data.views  # noqa: F401
from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.cutting import cut_labelled_objects
from ssal3d.data.counts import annotated_counts
from ssal3d.data.infos import frame_id, frame_ids, read_infos, write_infos
from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError

TRAIN_PIPELINE = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
]
TEST_PIPELINE = [TRAIN_PIPELINE[0], dict(type='Pack3DDetInputs', keys=['points'])]
CLASSES = ('Car', 'Pedestrian', 'Cyclist')
POOL = ['000000', '000001', '000002', '000003']


@pytest.fixture
def root(kitti_folder):
    """A converted pool of four frames; 000003 is labelled and has no objects."""
    convert_kitti(kitti_folder.root, workers=1)
    return kitti_folder.root


def config(root, pipeline=(), ann_file='kitti_infos_train.pkl', kind='KittiFrameDataset', **options):
    return dict(
        type=kind,
        data_root=str(root),
        ann_file=ann_file,
        data_prefix=dict(pts='training/velodyne_reduced'),
        pipeline=list(pipeline),
        modality=dict(use_lidar=True, use_camera=False),
        metainfo=dict(classes=['Pedestrian', 'Cyclist', 'Car']),
        **{'serialize_data': False, **options},  # serialising collects garbage, which takes most of a test's time
    )


def state(*frames, pool=POOL) -> LabelState:
    """Every frame of the small pool has a car and a pedestrian, but for 000003."""
    empty = LabelState.empty(('Car', 'Pedestrian', 'Cyclist'), 'pool', pool)
    return empty.buy(0, [(frame, {} if frame == '000003' else {'Car': 1, 'Pedestrian': 1}) for frame in frames])


def labelled(root, *frames, pipeline=TRAIN_PIPELINE, **options):
    return DATASETS.build(dict(type='LabelledView', dataset=config(root, pipeline, **options), labels=state(*frames)))


def unlabelled(root, *frames, pipeline=TEST_PIPELINE, dataset=None, **options):
    inner = dataset or config(root, pipeline)
    return DATASETS.build(dict(type='UnlabelledView', dataset=inner, labels=state(*frames), **options))


# ---------------------------------------------------------------- which frames


@pytest.mark.parametrize('serialize_data', [False, True])
@pytest.mark.parametrize('kind', ['KittiFrameDataset', 'KittiDataset'])
def test_the_views_split_the_pool_in_dataset_order(root, kind, serialize_data):
    view = labelled(root, '000002', '000000', kind=kind, serialize_data=serialize_data)
    assert view.frame_ids == ['000000', '000002'], 'not the order of purchase'
    inner = config(root, TEST_PIPELINE, kind=kind, serialize_data=serialize_data)
    rest = unlabelled(root, '000002', '000000', dataset=inner)
    assert rest.frame_ids == ['000001', '000003']
    assert (len(view), len(rest)) == (2, 2)
    assert view.metainfo['classes'] == ['Pedestrian', 'Cyclist', 'Car']


def test_frames_and_include_labelled(root, tmp_path):
    assert unlabelled(root, '000000', frames=['000002', '000000']).frame_ids == ['000002']
    assert unlabelled(root, '000000', include_labelled=True).frame_ids == POOL
    assert unlabelled(root, '000000', frames=['000000'], include_labelled=True).frame_ids == ['000000']
    (tmp_path / 'frames.txt').write_text('000001\n000003\n')
    view = DATASETS.build(
        dict(type='UnlabelledView', dataset=config(root, TEST_PIPELINE), frames=str(tmp_path / 'frames.txt'))
    )
    assert view.frame_ids == ['000001', '000003']
    assert DATASETS.build(dict(type='UnlabelledView', dataset=config(root))).frame_ids == POOL


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('', r'frames\.txt: found no frame id, expected one a line'),
        (' \n\n', r'frames\.txt: found no frame id'),
        ('1\n', r"frame 1 is not among the 4 frames of the data set; did you mean '000001'\?"),
        ('000009\n', r'frame 000009 is not among the 4 frames of the data set$'),
    ],
)
def test_lists_that_name_no_frame_are_refused(root, tmp_path, content, message):
    (tmp_path / 'frames.txt').write_text(content)
    view = dict(type='UnlabelledView', dataset=config(root, TEST_PIPELINE), frames=str(tmp_path / 'frames.txt'))
    with pytest.raises(UserError, match=message):
        DATASETS.build(view).full_init()


@pytest.mark.parametrize(
    'content', [b'\xef\xbb\xbf000001\r\n000003\r\n', '000001\n000003\n'.encode('utf-16')], ids=['mark', 'utf-16']
)
def test_lists_of_windows_programs_are_read(root, tmp_path, content):
    (tmp_path / 'frames.txt').write_bytes(content)
    view = dict(type='UnlabelledView', dataset=config(root, TEST_PIPELINE), frames=str(tmp_path / 'frames.txt'))
    assert DATASETS.build(view).frame_ids == ['000001', '000003']


def test_labels_may_be_a_file(root, tmp_path):
    state('000001').write(tmp_path / 'round_0.json')
    view = DATASETS.build(dict(type='LabelledView', dataset=config(root), labels=str(tmp_path / 'round_0.json')))
    assert view.frame_ids == ['000001']


def test_nothing_or_everything_labelled(root):
    assert len(labelled(root, serialize_data=True)) == 0
    assert labelled(root).frame_ids == []
    assert len(unlabelled(root, *POOL)) == 0
    assert len(labelled(root, *POOL)) == 4
    with pytest.raises(IndexError):
        labelled(root, '000000')[1]


def test_indices_of_the_dataset_choose_the_pool(root):
    for indices, pool in ((2, POOL[:2]), (-1, POOL[-1:]), ([3, 1], ['000003', '000001'])):
        inner = config(root, TEST_PIPELINE, indices=indices)
        view = DATASETS.build(dict(type='UnlabelledView', dataset=inner, labels=state(pool[0], pool=pool)))
        assert view.frame_ids == pool[1:]
        assert len(view) == len(pool) - 1


# ---------------------------------------------------------------- what a frame is


def test_a_labelled_frame_goes_through_the_pipeline_with_its_boxes(root):
    view = labelled(root, '000000', '000003')
    sample = view[0]
    assert sample['data_samples'].gt_instances_3d.labels_3d.tolist() == [2, 0]
    assert sample['data_samples'].lidar_path.endswith('velodyne_reduced/000000.bin')
    np.testing.assert_array_equal(sample['inputs']['points'].numpy(), view.load_points(0))
    stock = KittiDataset(**{key: value for key, value in config(root).items() if key != 'type'})
    expected = stock.get_data_info(0)['ann_info']['gt_bboxes_3d'].tensor
    assert torch.equal(sample['data_samples'].gt_instances_3d.bboxes_3d.tensor, expected)
    assert view.get_cat_ids(0) == {0, 2}


VAN = 'Van 0.00 0 0.10 560.00 170.00 660.00 230.00 2.00 1.80 5.00 -6.00 1.65 25.00 -1.50'


def with_a_van(kitti_folder):
    for frame in ('000000', '000001'):
        others = kitti_folder.path('label_2', frame).read_text()
        kitti_folder.write('label_2', frame, f'{VAN}\n{others}')
    convert_kitti(kitti_folder.root, workers=1, accept_implausible=True)  # no point is in the van
    return kitti_folder.root


@pytest.mark.parametrize('kind', ['KittiFrameDataset', 'KittiDataset'])
def test_a_labelled_frame_knows_its_annotated_objects_of_other_classes(kitti_folder, kind):
    view = labelled(with_a_van(kitti_folder), '000000', '000002', kind=kind)
    van = np.float32(
        [[25.27, 6.0, -0.73, 5.0, 1.8, 2.0]]
    )  # camera 0.27 m ahead of the LiDAR, 0.08 m below the label's y
    np.testing.assert_allclose(
        view.get_data_info(0)['obstacles'][:, [0, 1, 3, 4, 5]], van[:, [0, 1, 3, 4, 5]], atol=1e-4
    )
    assert view.get_data_info(1)['obstacles'].shape == (0, 7)  # cars and pedestrians are trained, DontCare is no object
    view.get_data_info(0)['obstacles'][:] = 0
    assert view.get_data_info(0)['obstacles'].all(), 'samples are copies'
    assert next(view.annotated_objects())[2].tolist() == ['Van', 'Car', 'Pedestrian']


def test_an_unlabelled_frame_tells_nothing_of_its_vans(kitti_folder):
    root = with_a_van(kitti_folder)
    for view in (unlabelled(root, '000000'), unlabelled(root, '000000', include_labelled=True)):
        assert all('obstacles' not in view.get_data_info(index) for index in range(len(view)))


def test_nothing_is_pasted_into_a_van_of_a_labelled_frame(kitti_folder, tmp_path):
    """The car of the bank stands where frame 000000 has a van, and where 000002 has nothing."""
    root, bank = with_a_van(kitti_folder), BoxBank(tmp_path / 'bank')
    van = labelled(root, '000000').get_data_info(0)['obstacles'][0]
    cloud = np.zeros((10, 4), np.float32) + np.float32([*van[:3], 0])
    objects = LabelledObjects.from_frames([('000009', van[None], np.array(['Car']), np.ones(1, bool))])
    bank.publish(cut_labelled_objects(lambda _: cloud, ['Pedestrian', 'Cyclist', 'Car'], objects))
    paste = dict(type='PasteObjects', bank=str(bank.folder), groups=dict(Car=1), sources=['ground_truth'])
    view = labelled(root, '000000', '000002', pipeline=[*TRAIN_PIPELINE[:2], paste, TRAIN_PIPELINE[2]])
    cars = [(sample['data_samples'].gt_instances_3d.labels_3d == 2).sum().item() for sample in view]
    assert cars == [1, 2]


def test_a_labelled_frame_without_objects_is_never_replaced(root):
    view = labelled(root, '000000', '000003', filter_empty_gt=True)
    for _ in range(5):
        sample = view[1]['data_samples']
        assert sample.lidar_path.endswith('000003.bin')
        assert len(sample.gt_instances_3d.bboxes_3d) == 0


def test_a_pipeline_that_drops_a_frame_is_an_error(root):
    view = labelled(root, '000001', pipeline=[lambda results: None])
    with pytest.raises(RuntimeError, match='returned nothing for frame 000001'):
        view[0]


def test_an_unlabelled_frame_keeps_its_sensors_and_nothing_else(root):
    planes = root / 'training' / 'planes'
    planes.mkdir()
    (planes / '000001.txt').write_text('# Matrix\nWIDTH 4\nHEIGHT 1\n0 -1 0 1.65\n')
    convert_kitti(root, workers=1)
    sample = unlabelled(root, '000000').get_data_info(0)
    allowed = {'sample_idx', 'images', 'lidar_points', 'plane', 'num_pts_feats', 'lidar_path', 'frame_id'}
    assert set(sample) == allowed | {'box_type_3d', 'box_mode_3d'}
    assert sample['frame_id'] == '000001'
    np.testing.assert_allclose(sample['plane'], [0, 0, 1, 1.73], atol=1e-6)  # camera 0.08 m above the LiDAR
    assert sample['images']['CAM2']['height'] == 375
    packed = unlabelled(root, '000000')[0]['data_samples']
    assert packed.eval_ann_info is None
    assert len(packed.gt_instances_3d) == 0


@pytest.mark.parametrize('serialize_data', [False, True])
@pytest.mark.parametrize('kind', ['LabelledView', 'UnlabelledView'])
def test_samples_are_copies(root, kind, serialize_data):
    inner = config(root, serialize_data=serialize_data)
    frames = DATASETS.build(dict(type=kind, dataset=inner, labels=state('000000', '000001')))
    frames.get_data_info(0)['lidar_points']['lidar_path'] = 'changed'
    frames.get_data_info(0)['images'].clear()
    assert frames.get_data_info(0)['lidar_points']['lidar_path'].endswith('.bin')
    assert 'CAM2' in frames.get_data_info(0)['images']


def test_annotations_that_slip_in_are_noticed(root):
    infos = read_infos(root / 'kitti_infos_train.pkl')
    for key in ('gt_boxes', 'eval_ann_info', 'cam_instances'):
        changed = copy.deepcopy(infos)
        changed['data_list'][1][key] = [1, 2, 3]
        write_infos(root / 'changed.pkl', changed)
        assert key not in unlabelled(root, '000000', dataset=config(root, ann_file='changed.pkl')).get_data_info(0)
        view = unlabelled(root, '000000', dataset=config(root, ann_file='changed.pkl'), keep=[key])
        with pytest.raises(RuntimeError, match=f"ground truth in unlabelled frame 000001: key '{key}'"):
            view[0]
    view = unlabelled(root, '000000', dataset=config(root, ann_file='changed.pkl'), keep=['token'])
    assert 'token' not in view.get_data_info(0)


def test_a_pipeline_that_loads_annotations_fails_on_unlabelled_frames(root):
    with pytest.raises(KeyError, match='ann_info'):
        unlabelled(root, '000000', pipeline=TRAIN_PIPELINE)[0]


# ---------------------------------------------------------------- no oracle


def garble(infos, frames):
    """Destroy the annotations of frames in every way that a parser could trip over."""
    infos = copy.deepcopy(infos)
    nonsense = [
        'no list at all',
        [{'bbox_label_3d': 99, 'bbox_3d': [float('nan')] * 7}] * 3,
        [{'bbox_label_3d': 2, 'bbox_label': 2, 'bbox_3d': [1.0, 2, 3, 4, 5, 6, 7]}] * 50,
        [],
    ]
    for number, info in enumerate(infos['data_list']):
        if info['lidar_points']['lidar_path'].removesuffix('.bin') in frames:
            info['instances'] = nonsense[number % len(nonsense)]
            info['cam_instances'] = {'CAM2': nonsense[1]}
            info['eval_ann_info'] = info['ann_info'] = nonsense[2]
            info['gt_boxes'] = 'garbled'
    return infos


class Recorder:
    """Everything that a data set logs."""

    def __enter__(self):
        self.logger, self.text = MMLogger.get_current_instance(), io.StringIO()
        self.handler = logging.StreamHandler(self.text)
        self.handler.setLevel(logging.INFO)  # the registry's debug lines differ between first and later uses
        self.logger.addHandler(self.handler)
        return self

    def __exit__(self, *_):
        self.logger.removeHandler(self.handler)


def everything(root, ann_file, kind, bought, built):
    """All samples, raw and packed, all points, and the log of both views."""
    with Recorder() as log:
        inner = config(root, TRAIN_PIPELINE, ann_file, kind)
        rest_of = config(root, TEST_PIPELINE, ann_file, kind, test_mode=True)
        if built:
            inner, rest_of = (DATASETS.build(dict(entry, lazy_init=True)) for entry in (inner, rest_of))
        infos = read_infos(root / ann_file)
        own = {**infos, 'data_list': [info for info in infos['data_list'] if frame_id(info) in bought]}
        empty = LabelState.empty(CLASSES, 'pool', frame_ids(infos))
        bought = empty.buy(0, list(annotated_counts(own, CLASSES).items()))
        views = [
            DATASETS.build(dict(type='LabelledView', dataset=inner, labels=bought)),
            DATASETS.build(dict(type='UnlabelledView', dataset=rest_of, labels=bought)),
        ]
        content = []
        for view in views:
            for index in range(len(view)):
                packed = view[index]
                truth = packed['data_samples'].gt_instances_3d
                content.append(
                    (
                        view.frame_ids[index],
                        repr(view.get_data_info(index)),
                        packed['inputs']['points'].numpy().tobytes(),
                        [
                            value.tensor.numpy().tobytes() if hasattr(value, 'tensor') else value.numpy().tobytes()
                            for value in truth.values()
                        ],
                        packed['data_samples'].metainfo_keys(),
                        view.load_points(index).tobytes(),
                    )
                )
            content.append(repr(view.metainfo))
    assert log.text.getvalue()
    return content, log.text.getvalue()


@pytest.mark.usefixtures('mmdet3d_scope')
@pytest.mark.parametrize('built', [False, True])
@pytest.mark.parametrize('kind', ['KittiFrameDataset', 'KittiDataset'])
def test_garbled_annotations_of_unlabelled_frames_change_nothing(root, kind, built):
    infos = read_infos(root / 'kitti_infos_train.pkl')
    write_infos(root / 'garbled.pkl', garble(infos, {'000000', '000001', '000003'}))
    clean = everything(root, 'kitti_infos_train.pkl', kind, ['000002'], built)
    garbled = everything(root, 'garbled.pkl', kind, ['000002'], built)
    assert clean == garbled
    assert 'LabelledView: 1 of 4 frames; boxes: Pedestrian 1, Cyclist 0, Car 1' in clean[1]
    assert 'UnlabelledView: 3 of 4 frames' in clean[1]
    write_infos(root / 'garbled.pkl', garble(infos, {'000002'}))
    assert everything(root, 'garbled.pkl', kind, ['000002'], built) != clean, 'annotations that were bought matter'


@pytest.mark.usefixtures('mmdet3d_scope')
def test_garbling_real_frames_changes_nothing(mini_folder, tmp_path):
    out = tmp_path / 'out'
    convert_kitti(mini_folder, out, workers=1, splits=['train'])
    infos = read_infos(out / 'kitti_infos_train.pkl')
    bought = ['000003', '900000']
    others = {info['lidar_points']['lidar_path'][:-4] for info in infos['data_list']} - set(bought)
    write_infos(out / 'garbled.pkl', garble(infos, others))
    clean = everything(out, 'kitti_infos_train.pkl', 'KittiFrameDataset', bought, False)
    assert clean == everything(out, 'garbled.pkl', 'KittiFrameDataset', bought, False)
    assert len(clean[0]) == len(infos['data_list']) + 2


def test_a_dataset_that_was_built_before_is_not_changed(root):
    inner = KittiDataset(**{key: value for key, value in config(root).items() if key != 'type'})
    before = inner.get_data_info(1)['ann_info']['gt_labels_3d'].tolist()
    counts = list(inner.num_ins_per_cat)
    view = unlabelled(root, '000000', dataset=inner)
    assert len(view) == 3
    assert 'ann_info' not in view.get_data_info(0)
    assert inner not in vars(view).values(), 'it would go to the workers with all its labels'
    assert inner.get_data_info(1)['ann_info']['gt_labels_3d'].tolist() == before
    assert (len(inner), inner.num_ins_per_cat, inner.test_mode, inner.filter_empty_gt) == (4, counts, False, True)


# ---------------------------------------------------------------- living with MMEngine


@pytest.mark.parametrize('workers', [0, 2])
def test_the_views_load_in_workers(root, workers):
    view = labelled(root, '000000', '000003')
    view.full_init()
    loader = DataLoader(view, batch_size=1, num_workers=workers, collate_fn=lambda batch: batch[0])
    assert [len(sample['data_samples'].gt_instances_3d) for sample in loader] == [2, 0]


@pytest.mark.usefixtures('mmdet3d_scope')
def test_the_views_survive_pickling_and_repetition(root):
    view = pickle.loads(pickle.dumps(labelled(root, '000001')))
    assert view.frame_ids == ['000001']
    full = pickle.loads(pickle.dumps(view))
    assert full.frame_ids == ['000001']
    assert len(full[0]['data_samples'].gt_instances_3d) == 2
    repeated = RepeatDataset(dict(type='LabelledView', dataset=config(root), labels=state('000001')), times=3)
    assert len(repeated) == 3
    assert repeated.metainfo['classes'] == ['Pedestrian', 'Cyclist', 'Car']


# ---------------------------------------------------------------- mistakes


def test_labels_of_another_pool(root, tmp_path):
    other = state('000001', pool=['000000', '000001'])
    with pytest.raises(UserError, match=r"pool 'pool' of 2 frames, found another pool of 4 frames"):
        len(DATASETS.build(dict(type='LabelledView', dataset=config(root), labels=other)))
    other.write(tmp_path / 'round_0.json')
    with pytest.raises(UserError, match=r'round_0\.json: .*another pool'):
        len(DATASETS.build(dict(type='UnlabelledView', dataset=config(root), labels=tmp_path / 'round_0.json')))


def test_unknown_frames(root, tmp_path):
    with pytest.raises(UserError, match='frame 000009 is not among the 4 frames'):
        labelled(root, '000009').full_init()
    with pytest.raises(UserError, match='frame 000008 is not among'):
        unlabelled(root, frames=['000008']).full_init()
    with pytest.raises(UserError, match=r'frames\.txt: no such file'):
        unlabelled(root, frames=tmp_path / 'frames.txt').full_init()


def test_a_labelled_frame_without_annotations(root):
    view = DATASETS.build(
        dict(
            type='LabelledView',
            dataset=config(root, ann_file='kitti_infos_unlabelled.pkl'),
            labels=state('000004', pool=['000004', '000005']),
        )
    )
    with pytest.raises(UserError, match='frame 000004 is in the label state but has no annotations'):
        len(view)


def test_missing_data_says_how_to_get_it(root, tmp_path):
    with pytest.raises(UserError, match=r'download velodyne, label_2, calib .*ssal3d create-data kitti'):
        len(unlabelled(tmp_path / 'nowhere'))
    with pytest.raises(UserError, match=r'kitti_infos_trian\.pkl: no such file; .*create-data'):
        len(unlabelled(root, dataset=config(root, ann_file='kitti_infos_trian.pkl')))
    (root / 'kitti_infos_train.pkl').write_bytes(b'\x80\x04cposix\nsystem\n.')
    with pytest.raises(UserError, match=r'kitti_infos_train\.pkl.*posix\.system'):
        len(unlabelled(root))


def test_missing_and_cut_scans_are_found_at_the_start(root):
    scan = root / 'training' / 'velodyne_reduced' / '000002.bin'
    content = scan.read_bytes()
    scan.write_bytes(content[:-16])
    with pytest.raises(UserError, match=r'000002\.bin: found \d+ points, expected \d+ as recorded'):
        len(unlabelled(root, '000000'))
    assert len(unlabelled(root, '000002')) == 3
    scan.unlink()
    with pytest.raises(UserError, match=r'000002\.bin: no such file; check data_root'):
        len(labelled(root, '000002'))


def test_misspelt_classes_and_wrong_inner_datasets(root):
    wrong = config(root)
    wrong['metainfo'] = dict(classes=['Pedestrain'])
    for kind in ('KittiFrameDataset', 'KittiDataset'):
        with pytest.raises(UserError, match=r"unknown class 'Pedestrain'.*did you mean 'Pedestrian'"):
            len(unlabelled(root, dataset=dict(wrong, type=kind)))
    repeated = dict(type='RepeatDataset', times=2, dataset=config(root))
    with pytest.raises(UserError, match='found a RepeatDataset in a view'):
        len(unlabelled(root, dataset=repeated))
    with pytest.raises(UserError, match='found a LabelledView in a view'):
        len(unlabelled(root, dataset=labelled(root, '000000')))


# ---------------------------------------------------------------- label state and annotation file


def test_boxes_that_the_annotation_file_lacks_are_not_learnt_as_empty(root):
    counted = LabelState.empty(CLASSES, 'pool', POOL).buy(
        0, [('000001', {'Car': 1, 'Pedestrian': 1}), ('000003', {'Car': 7})]
    )
    view = DATASETS.build(dict(type='LabelledView', dataset=config(root), labels=counted))
    with pytest.raises(
        UserError,
        match=r'frame 000003 holds no box, the label state counts 7 Car \(1 of 2 frames differ, 2 against 9 boxes\)',
    ):
        view.full_init()


def test_counts_of_boxes_with_points_agree_too(root):
    infos = read_infos(root / 'kitti_infos_train.pkl')
    counts = annotated_counts(infos, CLASSES, 'nonempty')
    assert counts != annotated_counts(infos, CLASSES), 'some pedestrian holds no point'
    nonempty = LabelState.empty(CLASSES, 'pool', POOL).buy(0, list(counts.items()))
    assert len(DATASETS.build(dict(type='LabelledView', dataset=config(root), labels=nonempty))) == 4
