"""A training stage of HSSDA: all frames in one data set, labels mined between epochs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ssal3d.errors import UserError
from ssal3d.registry import STAGES
from ssal3d.semi.hssda.dataset import META_KEYS
from ssal3d.semi.hssda.hook import FEWEST
from ssal3d.semi.hssda.label_store import LabelStore
from ssal3d.semi.stage import TeacherStudentStage
from ssal3d.stages.schedules import scale_learning_rate
from ssal3d.stages.supervised import (
    BoxesByFrame,
    StageInputs,
    bank_of,
    labelled_frames,
    labelled_view,
    loading_steps,
    view_config,
    with_bank,
)

PLAIN, SHUFFLING = 'SparseEncoder', 'ShuffleSparseEncoder'  # two classes with the same parameters


@STAGES.register_module()
class HSSDAStage(TeacherStudentStage):
    """HSSDA from the previous stage's weights; leaves the student as a plain detector.

    Args:
        method: Options of `HSSDA`, with its type.
        mining: Options of `HSSDAMiningHook` other than data and folders.
        paste_unlabelled: Whether objects are pasted into unlabelled frames, too, as released.
        ema: Options of `MeanTeacherHook`.
        min_batch: Fewest frames of a step of the optimiser: ``train_dataloader.batch_size`` times
            ``optim_wrapper.accumulative_counts``. HSSDA is known to gain nothing from small batches; a lower number is
            for trials.
        lr_batch: Frames of a step that the learning rate of the schedule is meant for. With another number it is scaled
            by the square root of the ratio, as suits Adam (Malladi et al. 2022, arXiv 2205.10287); None: never scaled.
        **kwargs: As for `SupervisedStage`; an epoch goes through all frames ``repeat`` times.
    """

    frames_per_sample = 1

    def __init__(
        self,
        method: Mapping[str, Any] | None = None,
        mining: Mapping[str, Any] | None = None,
        paste_unlabelled: bool = True,
        ema: Mapping[str, Any] | None = None,
        min_batch: int = FEWEST,
        lr_batch: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__({'type': 'HSSDA', **(method or {})}, {'kind': 'ramp', **(ema or {})}, **kwargs)
        self.min_batch, self.lr_batch = min_batch, lr_batch
        self.mining, self.paste_unlabelled = dict(mining or {}), paste_unlabelled

    def build_config(self, experiment: Config, inputs: StageInputs) -> Config:
        """Return the complete config of the run.

        Args:
            experiment: The experiment's config.
            inputs: Folder, labels and starting point.

        Raises:
            UserError: If a step has fewer frames than ``min_batch``.
        """
        config = super().build_config(experiment, inputs)
        each, times = config.total_batch_size, config.optim_wrapper.get('accumulative_counts', 1)
        if each * times < self.min_batch:
            raise UserError(
                f'stages.{inputs.work_dir.name}.options.train_dataloader.batch_size: found {each} frames x '
                f'{times} accumulated, expected at least {self.min_batch} in a step of HSSDA; set 12, or less with '
                'options.optim_wrapper.accumulative_counts, or min_batch of the stage for a trial'
            )
        if self.lr_batch:
            scale_learning_rate(config, (each * times / self.lr_batch) ** 0.5)
        return config

    def compose(self, experiment: Config, inputs: StageInputs) -> Config:
        """Return the config of the run without ``options``.

        Args:
            experiment: The experiment's config.
            inputs: Folder, labels and starting point.

        Raises:
            UserError: If the detector's 3D backbone cannot put patches back.
        """
        config = super().compose(experiment, inputs)
        config.model.seed = config.randomness.seed
        config.train_dataloader.collate_fn = dict(type='collate_branches')
        if self.method.get('shuffle', True):
            encoder = config.model.detector.get('middle_encoder', {})
            if encoder.get('type') not in (PLAIN, SHUFFLING):
                raise UserError(
                    f'HSSDA: found the 3D backbone {encoder.get("type")}, expected {PLAIN}; choose another detector or '
                    "method=dict(shuffle=False) in the stage's settings"
                )
            encoder.type = SHUFFLING
        return config

    def detector_config(self, config: Config) -> Config:
        """Return the run's config with the plain detector and its stock 3D backbone.

        Args:
            config: What `build_config` returned.
        """
        config = super().detector_config(config)
        encoder = config.model.get('middle_encoder', {})
        if encoder.get('type') == SHUFFLING:
            config.model = dict(
                config.model, middle_encoder=dict(encoder, type=PLAIN)
            )  # the run's config stays as it is
        return config

    def train_dataset(self, config: Config, inputs: StageInputs) -> dict[str, Any]:
        """Return the data set config: every frame once, with or without annotations."""
        pasting = [step for step in config.labelled_pipeline if step['type'] == 'PasteObjects']
        paste = None
        if self.paste_unlabelled and pasting:
            paste = dict(with_bank(pasting, bank_of(inputs))[0], type='PasteCandidates')
        return dict(
            type='PoolSemiDataset',
            labelled=labelled_view(config, inputs),
            unlabelled=view_config('UnlabelledView', config, inputs, loading_steps(config)),
            store=str(store_of(inputs)),
            paste=paste,
            **self.length(),
            seed=config.randomness.seed,
        )

    def hooks(self, config: Config, inputs: StageInputs) -> list[dict[str, Any]]:
        """Return the hooks that mine labels (and cut the paste database) and move the teacher."""
        pack = dict(type='Pack3DDetInputs', keys=['points'], meta_keys=list(META_KEYS))
        prediction = {
            key: inputs.pool_dataloader[key] for key in ('batch_size', 'num_workers') if key in inputs.pool_dataloader
        }
        mining = dict(
            type='HSSDAMiningHook',
            store=str(store_of(inputs)),
            bank=bank_of(inputs),
            labelled=labelled_frames(config, inputs),
            frames=dict(
                view_config('UnlabelledView', config, inputs, [*loading_steps(config), pack]), include_labelled=True
            ),
            prediction=prediction,
            **self.mining,
        )
        return [mining, dict(type='MeanTeacherHook', **self.ema)]

    def pseudo_labels(self, config: Config, inputs: StageInputs) -> BoxesByFrame:
        """Return the permanent labels, which were mined."""
        store = LabelStore(store_of(inputs))
        return {
            name: (labels['box'], labels['label'])
            for name in store.frame_ids
            if not store.is_bought(name) and len(labels := store.labels_of(name))
        }


def store_of(inputs: StageInputs) -> Path:
    """Return the folder of a stage's bought and mined labels."""
    return inputs.work_dir / 'labels'
