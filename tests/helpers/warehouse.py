"""A hall with forklifts and pallets, scanned all around, and the smallest detectors for it."""

from pathlib import Path

import numpy as np

from ssal3d.configs import find_config
from ssal3d.data.folder.converter import convert_folder
from ssal3d.data.folder.suggestion import as_block, fill_template, suggest
from ssal3d.data.infos import read_infos
from tests.helpers.kitti_street import GROUND, scan_of
from tests.models.single_stages import BUILDERS

CLASSES = ['forklift', 'pallet']
SIZES = {'forklift': (2.6, 1.3, 2.2), 'pallet': (1.2, 0.8, 0.9)}
TRAIN, VAL = 10, 3
LIMITS = [-6.4, -6.4, -3.0, 6.4, 6.4, 1.0]

TINY = """
_base_ = '{base}'
model = {model}
train_dataloader = dict(num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
active_sampler = dict(_delete_=True, type='EntropySampler')
query = dict(unit='frames', budget=3)
stages = dict(normal=dict(epochs=1, repeat=1), supervised=dict(epochs=1, repeat=1))
train_cfg = dict(
    initial=dict(sampler=dict(type='RandomSampler'), query=dict(unit='frames', budget=4)),
    rounds=[dict(pretrain=['normal']), dict(pretrain=['normal'])],
    final=['supervised'],
    annotator=dict(_delete_=True, type='FileAnnotator', prelabels=dict(thresholds=0.0)),
)
"""


def objects_of(frame: int):
    """Return names and boxes ``(2, 7)`` of a frame; one object stands behind the sensor."""
    random = np.random.default_rng(frame)
    names = ['forklift', 'pallet'] if frame % 2 else ['pallet', 'forklift']
    boxes = []
    for side, name in zip((-1, 1), names):
        length, width, height = SIZES[name]
        x, y = side * random.uniform(3, 4.5), random.uniform(-4, 4)
        boxes.append((x, y, GROUND + height / 2, length, width, height, random.uniform(-3, 3)))
    return names, np.array(boxes)


def write_scans(folder: Path, frames) -> None:
    """Write the raw scans of some frames."""
    folder.mkdir(parents=True)
    for number in frames:
        scan_of(np.random.default_rng(number), objects_of(number)[1], ground=800).tofile(folder / f'{number:03d}.bin')


def write_hall(root: Path) -> Path:
    """Write raw scans, labels of the val split alone, and convert them; return the data root."""
    scans, out = root / 'scans', root / 'converted'
    write_scans(scans / 'points', range(TRAIN + VAL))
    for folder in ('labels', 'splits'):
        (scans / folder).mkdir()
    for number in range(TRAIN, TRAIN + VAL):
        rows = [' '.join((*map(str, box), name)) for name, box in zip(*objects_of(number))]
        (scans / 'labels' / f'{number:03d}.txt').write_text('\n'.join(rows))
    for split, frames in (('train', range(TRAIN)), ('val', range(TRAIN, TRAIN + VAL))):
        (scans / 'splits' / f'{split}.txt').write_text(''.join(f'{number:03d}\n' for number in frames))
    convert_folder(scans, out, CLASSES, workers=1)
    return out


def write_config(path: Path, data: Path, detector: str) -> str:
    """Write the template's copy for the hall, and beside it one that makes it tiny; return the path of the latter."""
    infos = data / 'folder_infos_val.pkl'
    found = vars(suggest(read_infos(infos), infos))
    found |= dict(point_cloud_range=tuple(LIMITS), voxel_size=(0.1, 0.1, 0.1), paste_groups=dict.fromkeys(CLASSES, 2))
    block = as_block(type(suggest(read_infos(infos), infos))(**found), data, 'folder', None)
    own = path.with_name(f'{path.stem}_own.py')
    own.write_text(fill_template(find_config('ssal3d::ssal/pvrcnn_folder.py').read_text(), block))
    path.write_text(TINY.format(base=own, model=MODELS[detector]()))
    return str(path)


def _pvrcnn() -> dict:
    return dict(
        points_encoder=dict(num_keypoints=128),
        train_cfg=dict(rpn_proposal=dict(nms_pre=256, nms_post=32, max_num=32), rcnn=dict(sampler=dict(num=16))),
        test_cfg=dict(rpn=dict(nms_pre=64, nms_post=16, max_num=16), rcnn=dict(score_thr=0.0)),
    )


def _pillars() -> dict:
    model = BUILDERS['pillars']()
    model['data_preprocessor']['voxel_layer']['point_cloud_range'] = LIMITS
    model['voxel_encoder']['point_cloud_range'] = LIMITS
    head = model['bbox_head']
    head['num_classes'] = len(CLASSES)
    head['anchor_generator'] |= dict(
        ranges=[[*LIMITS[:2], GROUND, *LIMITS[3:5], GROUND]] * 2, sizes=[list(size) for size in SIZES.values()]
    )
    model['train_cfg']['assigner'] = model['train_cfg']['assigner'][:2]
    model['test_cfg']['score_thr'] = 0.0
    return dict(model, _delete_=True)


MODELS = {'pvrcnn': _pvrcnn, 'pillars': _pillars}
