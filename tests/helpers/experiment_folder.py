"""The folder of a finished experiment: real queries and a real box bank on a small pool, made-up AP."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ssal3d.active import CALSampler, RandomSampler
from ssal3d.active.query.selection import pool_of_ids, select
from ssal3d.active.query.settings import QuerySettings
from ssal3d.bank import BoxBank
from ssal3d.cpsp.refresh import refresh
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.data.infos import read_infos, write_infos
from ssal3d.data.label_state import LabelState
from ssal3d.fileio import write_json
from ssal3d.predictions.writer import PredictionWriter
from tests.helpers.cpsp_builders import CLASSES, RandomPool

STAGES = ('round_1/normal', 'round_1/cpsp', 'final/supervised')
# Ahead of the sensor is the depth of the image, to its left the left half: 100 x 200 pixels.
CAMERA = [[100.0, -100, 0, 0], [50, 0, -100, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
DONT_CARE = {'bbox': [90.0, 10, 110, 40], 'bbox_3d': [-1000.0, -1000, -1000, -1, -1, -1, -10], 'bbox_label_3d': -1}


class Data:
    """A pool of frames on disk with annotations in the LiDAR frame.

    Args:
        folder: Where to write.
        classes: Class names, in the order of `CLASSES`.
        frames: Number of frames.
    """

    def __init__(self, folder, classes=CLASSES, frames=14):
        self.root, self.classes, self.pool = folder, tuple(classes), RandomPool(frames, seed=3)
        (folder / 'scans').mkdir(parents=True)
        for name, cloud in self.pool.clouds.items():
            cloud.tofile(folder / 'scans' / f'{name}.bin')
        categories = {**{name: label for label, name in enumerate(self.classes)}, 'DontCare': -1}
        infos = {
            'metainfo': {'categories': categories, 'dataset': 'own'},
            'data_list': list(map(self._info, self.pool.ids)),
        }
        write_infos(self.annotations, infos)

    @property
    def annotations(self):
        return self.root / 'infos.pkl'

    def _info(self, name):
        instances = [
            {'bbox': [0.0, 0, 10, 10], 'bbox_3d': box.tolist(), 'bbox_label_3d': CLASSES.index(kind)}
            for box, kind in self.pool.objects[name]
        ]
        return {
            'sample_idx': name,
            'lidar_points': {'lidar_path': f'{name}.bin', 'num_pts_feats': 4},
            'images': {'CAM2': {'lidar2img': CAMERA}},
            'instances': [*instances, DONT_CARE],
        }

    def counts(self, name):
        kinds = [kind for _, kind in self.pool.objects[name]]
        return {own: kinds.count(kind) for own, kind in zip(self.classes, CLASSES)}

    def predict(self, number, names):
        found = self.pool.predict(number, ids=names)
        rng = np.random.default_rng(number)
        features = rng.normal(size=(len(found.scores), 8)).astype(np.float32)
        return replace(found, classes=self.classes, fields={'box_features': features})

    def rewrite(self, change):
        """Change the info of every frame in place, by id."""
        infos = read_infos(self.annotations)
        for name, info in zip(self.pool.ids, infos['data_list']):
            change(name, info)
        write_infos(self.annotations, infos)


def write_experiment(folder, data, seed=1, sampler=None, gain=2.0, name='small', start=20, known=False):
    """Write the folder of an experiment and return it.

    Args:
        folder: The work dir.
        data: The pool.
        seed: Its seed; AP differs a little with it.
        sampler: Of the query; CAL by default.
        gain: What the labels add to AP.
        name: Of its config.
        start: Boxes that are labelled before the query.
        known: Whether the query knows what both models see in the labelled frames.
    """
    folder, steps = Path(folder), []
    state = LabelState.empty(data.classes, data.annotations.stem, data.pool.ids)
    first = select(
        RandomSampler(),
        pool_of_ids(data.pool.ids, data.classes),
        state,
        QuerySettings(start),
        seed=seed,
        annotate=data.counts,
    )
    state = _buy(folder, steps, 'initial', first, state)
    rest = [frame for frame in data.pool.ids if frame not in state.frame_ids]
    models = {}
    for number, stage in enumerate(STAGES[:2]):
        _train(folder, steps, stage, data, seed, 30.0 + number)
        models[stage] = data.predict(number, rest)
        _write_predictions(folder, steps, stage, models[stage])
    _write_bank(folder / STAGES[1] / 'bank', data, models[STAGES[1]])
    reference, last = models.values()
    query = select(
        sampler or CALSampler(t_sim=0.8, s_add=0.8, s_obj=0.2),
        last,
        state,
        QuerySettings(24),
        seed=seed,
        reference=reference,
        labelled=data.predict(1, sorted(state.frame_ids)) if known else None,
        labelled_reference=data.predict(0, sorted(state.frame_ids)) if known else None,
        annotate=data.counts,
    )
    _buy(folder, steps, 'round_1/query', query, state)
    _train(folder, steps, STAGES[2], data, seed, 30.0 + gain)
    write_json(folder / 'journal.json', {'schema': 1, 'steps': steps})
    card = {
        'schema': 1,
        'name': name,
        'command': f'ssal3d train {name}.py --work-dir {folder.name}',
        'seed': seed,
        'classes': list(data.classes),
        'pool': {'data_root': str(data.root), 'ann_file': data.annotations.name, 'points': 'scans'},
        'versions': {'ssal3d': '0'},
    }
    write_json(folder / 'experiment.json', card)
    return folder


def _buy(folder, steps, step, query, state):
    state = state.buy(query.round, query.purchases)
    path, group = f'labels/round_{query.round}.json', step.partition('/')[0]
    query.write(folder / group / 'query.json')
    state.write(folder / path)
    facts = {'frames': len(query.frames), 'spent': query.spent, 'spent_per_class': dict(query.spent_per_class)}
    steps.append({'step': step, 'labels': path, 'query': f'{group}/query.json', 'seconds': 0.5, **facts})
    _reads(folder, step, {'sampler': dict(query.sampler), 'query': query.settings.to_json(), 'seed': query.seed})
    return state


def _train(folder, steps, stage, data, seed, base):
    values = {name: base + 10 * place + seed for place, name in enumerate(data.classes)}
    values['mean'] = float(np.mean(list(values.values())))
    metrics = {f'kitti/{name}_{kind}_R40_moderate': value for name, value in values.items() for kind in ('bev', '3d')}
    steps.append({'step': stage, 'checkpoint': f'{stage}/epoch_1.pth', 'seconds': 61.0, 'metrics': metrics})
    _reads(folder, stage, {'training': {'model': stage, 'randomness': {'seed': seed}}, 'weights': f'sha of {seed}'})
    logged = folder / stage / 'run' / 'vis_data' / 'scalars.json'
    logged.parent.mkdir(parents=True)
    logged.write_text('{"memory": 2048, "loss": 1.0}\n{"pseudo/Car/precision_on_labelled": 0.25}\n')


def _reads(folder, step, content):
    write_json(folder / 'reads' / f'{step}.json', content)


def _write_predictions(folder, steps, stage, found):
    group, _, name = stage.partition('/')
    path = f'{group}/predictions_{name}'
    with PredictionWriter(folder / path, found.classes, fields=['box_features']) as writer:
        for row, frame in enumerate(found.frame_ids.tolist()):
            span = found.boxes_of(row)
            writer.add(
                frame,
                bboxes_3d=found.boxes[span],
                scores_3d=found.scores[span],
                labels_3d=found.labels[span],
                box_features=found['box_features'][span],
            )
    steps.append({'step': path, 'predictions': path, 'seconds': 2.0, 'timing': {'load': 0.5, 'forward': 1.5}})


def _write_bank(folder, data, predictions):
    settings = cpsp_settings(k_first=2, k_next=2)
    BoxBank(folder).publish(refresh(data.pool.load_points, data.classes, settings, predictions=predictions))
