"""Readers of checkpoints and of the values of configs."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tools.faults.fuzzing import Example, Reader
from tools.faults.own_files import CLASSES


def checkpoint_reader() -> Reader:
    """Checkpoints: the zip archives of PyTorch, damaged as a whole and in the pickle inside."""
    import torch
    from mmengine.logging import HistoryBuffer

    from ssal3d import compat
    from ssal3d.models.foreign import match_names, read_weights
    from ssal3d.models.loading import is_readable, require_checkpoint

    compat.apply_all()
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    content = {
        'meta': {'epoch': 1, 'cfg': 'x = 1'},
        'state_dict': {'neck.a': torch.ones(2, 3), 'neck.b': torch.zeros(1, dtype=torch.int64)},
        'message_hub': {'log_scalars': {'train/loss': history}},
    }
    file = io.BytesIO()
    torch.save(content, file)
    old = io.BytesIO()
    torch.save(content, old, _use_new_zipfile_serialization=False)
    archive = zipfile.ZipFile(file)
    members = {name: archive.read(name) for name in archive.namelist()}
    inside = next(name for name in members if name.endswith('data.pkl'))

    def zipped(data: bytes) -> bytes:
        result = io.BytesIO()
        with zipfile.ZipFile(result, 'w') as out:
            for name, entry in members.items():
                out.writestr(name, data if name == inside else entry)
        return result.getvalue()

    def read(at: Path) -> Any:
        path = at / 'epoch_1.pth'
        readable = is_readable(path)
        require_checkpoint(path)
        weights = read_weights(path)
        match_names(list(weights), ['neck.a'])
        return readable, weights

    def check(found: Any) -> None:
        assert all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found[1].items())

    examples = [
        Example('epoch_1.pth', file.getvalue()),
        Example('epoch_1.pth', members[inside], build=zipped),
        Example('epoch_1.pth', old.getvalue()),
    ]
    return Reader('checkpoint', read, examples, check)


def config_reader() -> Reader:
    """Values of a config: what a person may write in place of any of them."""
    import ssal3d.active  # noqa: F401 - registers the samplers
    from ssal3d.active.query.settings import query_settings
    from ssal3d.registry import ACTIVE_SAMPLERS, ANNOTATORS
    from ssal3d.resolving import resolve

    content = {
        'class_names': ['Car', 'Pedestrian'],
        'point_cloud_range': [0.0, -6.4, -3.0, 12.8, 6.4, 1.0],
        'voxel_size': [0.1, 0.1, 0.1],
        'anchors': {
            name: {'size': [3.9, 1.6, 1.56], 'bottom': -1.7, 'pos_iou_thr': 0.6, 'neg_iou_thr': 0.45}
            for name in CLASSES
        },
        'paste_groups': {'Car': 15, 'Pedestrian': 10},
        'schedule': {'lr': 0.01, 'epochs': 2},
        'param_scheduler': [{'type': 'OneCycleLR', 'eta_max': '${schedule.lr}', 'total_steps': '${schedule.epochs}'}],
        'model': {'head': {'num_classes': '${num_classes}', 'sizes': '${anchors.Car.size}'}},
        'active_sampler': {'type': 'CALSampler'},
        'query': {'budget': 5, 'unit': 'boxes', 'cost_score': 0.3, 'stop_rule': 'include_crossing'},
        'annotator': {'type': 'FileAnnotator', 'format': 'json', 'prelabels': {'iou': 0.5}, 'wait_for': 0.5},
        'stages': {'normal': {'type': 'SupervisedStage', 'epochs': 2, 'schedule': {'lr': 0.02}}},
        'train_cfg': {'rounds': [{'pretrain': ['normal'], 'query': {'budget': 3}}], 'final': ['normal']},
    }

    def read(at: Path) -> Any:
        found = resolve(json.loads((at / 'x.json').read_bytes()))
        loop = found.get('train_cfg') or {}
        settings = [query_settings(found), *(query_settings(found, entry, 'round') for entry in loop.get('rounds', ()))]
        sampler = ACTIVE_SAMPLERS.build(found.get('active_sampler'))
        annotator = ANNOTATORS.build(found.get('annotator'))
        annotator.check(found.get('class_names', ()))
        return settings, sampler

    def check(found: Any) -> None:
        for settings in found[0]:
            assert 0 <= settings.budget < np.inf, f'the budget {settings.budget}'

    def valid(text: bytes) -> bytes:
        """Return the values as they are, if they could stand in a config: Python reads any text that JSON holds."""
        document = json.loads(text)
        if not isinstance(document, dict):
            raise TypeError
        return text

    return Reader('config', read, [Example('x.json', json.dumps(content).encode(), 'json', build=valid)], check)


READERS = (checkpoint_reader, config_reader)
