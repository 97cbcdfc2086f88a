"""A training stage with a teacher and a student, for every method of `ssal3d.semi`."""

import copy
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_dist_info, is_main_process
from torch.utils.data import DataLoader

from ssal3d.data.boxes import to_gravity_array
from ssal3d.data.determinism import seeded_globals
from ssal3d.distributed import barrier, to_rank_0
from ssal3d.errors import unknown_name
from ssal3d.models.loading import load_detector, write_weights
from ssal3d.registry import STAGES
from ssal3d.semi.detector import student_state
from ssal3d.semi.teacher_labels import TeacherLabels
from ssal3d.stages.supervised import (
    BoxesByFrame,
    StageInputs,
    SupervisedStage,
    labelled_view,
    loading_steps,
    pool_view,
    view_config,
)
from ssal3d.terminal import track


@STAGES.register_module()
class TeacherStudentStage(SupervisedStage):
    """Semi-supervised training from the previous stage's weights; leaves the student as a plain detector.

    Args:
        method: The method's class and options, e.g. ``dict(type='IoUMatch3D', t_sem=0.4)``.
        ema: Options of `MeanTeacherHook`.
        include_labelled: Let labelled frames also serve as unlabelled ones, without their labels.
        **kwargs: As for `SupervisedStage`.
    """

    frames_per_sample = 2  # a labelled and an unlabelled one

    def __init__(
        self,
        method: Mapping[str, Any],
        ema: Mapping[str, Any] | None = None,
        include_labelled: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.method = dict(method)
        self.ema = dict(ema or {})
        self.include_labelled = include_labelled

    @property
    def needs(self) -> frozenset[str]:
        """What the method needs of the detector."""
        method = MODELS.get(self.method['type'])
        if method is None:
            raise unknown_name('method', self.method['type'], sorted(MODELS.module_dict))
        return method.needs

    def compose(self, experiment: Config, inputs: StageInputs) -> Config:
        """Return the config of the run without ``options``.

        Args:
            experiment: The experiment's config.
            inputs: Folder, labels and starting point.
        """
        config = super().compose(experiment, inputs)
        detector = copy.deepcopy(config.model.to_dict())
        preprocessor = dict(detector.pop('data_preprocessor'), type='SemiDataPreprocessor')
        config.model = dict(
            **self.method,
            detector=detector,
            classes=list(config.pool_dataset.metainfo['classes']),
            data_preprocessor=preprocessor,
        )
        return config

    def detector_config(self, config: Config) -> Config:
        """Return the run's config with the plain detector.

        Args:
            config: What `build_config` returned.
        """
        config = config.copy()
        preprocessor = dict(config.model.data_preprocessor, type='Det3DDataPreprocessor')
        config.model = dict(config.model.detector, data_preprocessor=preprocessor)
        return config

    def result(self, config: Config) -> Path:
        """Write the student's weights as a checkpoint of the plain detector and return it.

        Args:
            config: What `build_config` returned.
        """
        path = Path(config.work_dir) / 'detector.pth'
        if is_main_process():
            trained = torch.load(super().result(config), map_location='cpu', weights_only=True)
            state = student_state(trained['state_dict'])
            write_weights(path, state, stage=type(self).__name__, method=self.method['type'])
        barrier()
        return path

    def pseudo_labels(self, config: Config, inputs: StageInputs) -> BoxesByFrame | None:
        """Return the boxes that the final teacher would let the student learn; None if it does not decide on boxes.

        Every process predicts its share of the frames, one by one: a teacher in train mode normalises over a batch.

        Args:
            config: What `build_config` returned.
            inputs: What it was given.

        Returns:
            All boxes in the first process, none in the others.
        """
        model = load_detector(config, SupervisedStage.result(self, config))
        if not isinstance(model, TeacherLabels):
            return None
        view, device = DATASETS.build(pool_view(config, inputs)), next(model.parameters()).device
        model.data_preprocessor.train()  # as many voxels as in training
        rank, processes = get_dist_info()
        frames = range(rank, len(view), processes)
        loader = DataLoader(
            view,
            sampler=frames,
            num_workers=inputs.pool_dataloader.get('num_workers', 1),
            collate_fn=pseudo_collate,
            generator=torch.Generator(),  # the loader's own draw must not touch the global one
        )
        labels: BoxesByFrame = {}
        told = f'pseudo labels of {inputs.work_dir.name}'
        for batch, index in zip(track(loader, told, len(frames), quiet=rank != 0), frames):
            with seeded_globals(config.randomness.seed, index):  # a teacher in train mode drops features at random
                points = [cloud.to(device) for cloud in batch['inputs']['points']]
                (found,) = model.taken(points, batch['data_samples'])
            labels[view.frame_ids[index]] = to_gravity_array(found.bboxes_3d), found.labels_3d.cpu().numpy()
        return dict(ChainMap(*to_rank_0(labels)))

    def train_dataset(self, config: Config, inputs: StageInputs) -> dict[str, Any]:
        """Return the data set config: pairs of a labelled and an unlabelled frame."""
        loading = loading_steps(config)
        return dict(
            type='PairedSemiDataset',
            labelled=labelled_view(config, inputs),
            unlabelled=dict(
                view_config('UnlabelledView', config, inputs, loading), include_labelled=self.include_labelled
            ),
            teacher_pipeline=[step for step in config.test_pipeline if step not in loading],
            student_pipeline=self.student_pipeline(config, inputs),
            **self.length(),
            seed=config.randomness.seed,
        )

    def student_pipeline(self, config: Config, inputs: StageInputs) -> list[dict[str, Any]]:
        """Return what happens to the view of an unlabelled frame that is learnt from."""
        return list(config.student_pipeline)

    def hooks(self, config: Config, inputs: StageInputs) -> list[dict[str, Any]]:
        """Return the hooks that cut the paste database and move the teacher."""
        return [*super().hooks(config, inputs), dict(type='MeanTeacherHook', **self.ema)]
