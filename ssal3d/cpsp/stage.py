"""The training stage of CPSP: labelled frames and pseudo-scenes of confident objects."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.config import Config

from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.generation import CONFIDENT
from ssal3d.registry import STAGES
from ssal3d.stages.supervised import (
    BoxesByFrame,
    StageInputs,
    SupervisedStage,
    bank_of,
    labelled_frames,
    labelled_view,
    pool_view,
    view_config,
    with_bank,
)


@STAGES.register_module()
class CPSPStage(SupervisedStage):
    """Training on labelled frames and pseudo-scenes of confident objects (CPSP of S-SSAL, arXiv 2501.15449).

    Args:
        pseudo_ratio: Share of samples that are pseudo-scenes.
        interval: Epochs between two refreshes of the box bank.
        false_positives: Likely false positives to paste into a pseudo-scene; one number for every class, or by class
            name.
        annotated_share: Share of the objects in a pseudo-scene that are annotated ones, class by class, as far as there
            are enough; None draws from annotated and confident ones alike, as released.
        bank: Settings of the box bank: confidence, refinement and backgrounds (see `ssal3d.cpsp.settings`).
        **kwargs: As for `SupervisedStage`.
    """

    prediction_fields = ()

    def __init__(
        self,
        pseudo_ratio: float = 0.8,
        interval: int = 10,
        false_positives: int | Mapping[str, int] | None = None,
        annotated_share: float | None = None,
        bank: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pseudo_ratio = pseudo_ratio
        self.interval = interval
        self.false_positives = false_positives or {}
        self.annotated_share = annotated_share
        self.bank = dict({} if self.false_positives else {'fp_source': 'none'}, **(bank or {}))

    def train_dataset(self, config: Config, inputs: StageInputs) -> dict[str, Any]:
        """Return the data set config: labelled frames mixed with pseudo-scenes."""
        return dict(
            type='PseudoSceneDataset',
            labelled=labelled_view(config, inputs),
            backgrounds=background_view(config, inputs, self._pasting(config)),
            pseudo_ratio=self.pseudo_ratio,
            **self.length(),
            seed=config.randomness.seed,
        )

    def _pasting(self, config: Config) -> dict[str, Any]:
        """Return what `PasteObjects` does in pseudo-scenes only."""
        false = self.false_positives
        if not isinstance(false, Mapping):
            false = dict.fromkeys(config.pool_dataset.metainfo['classes'], false)
        pasting: dict[str, Any] = dict(false_positives=dict(false))
        return pasting if self.annotated_share is None else dict(pasting, annotated_share=self.annotated_share)

    def hooks(self, config: Config, inputs: StageInputs) -> list[dict[str, Any]]:
        """Return the hook that builds and refreshes the box bank."""
        return [
            dict(
                type='CPSPHook',
                bank=bank_of(inputs),
                labelled=labelled_frames(config, inputs),
                unlabelled=pool_view(config, inputs),
                initial_predictions=str(inputs.pool_predictions) if inputs.pool_predictions else None,
                interval=self.interval,
                settings=self.bank,
                prediction=dict(inputs.pool_dataloader),
            )
        ]

    def pseudo_labels(self, config: Config, inputs: StageInputs) -> BoxesByFrame:
        """Return the confident objects of the last box bank."""
        bank = BoxBank(bank_of(inputs)).open()
        objects = bank.objects[bank.objects['source'] == CONFIDENT]
        starts = np.searchsorted(objects['frame'], np.arange(len(bank.frames) + 1))
        return {
            str(name): (objects['box'][start:stop], objects['label'][start:stop])
            for name, start, stop in zip(bank.frames['frame_id'], starts[:-1], starts[1:])
            if stop > start
        }


def background_view(config: Config, inputs: StageInputs, pasting: Mapping[str, Any]) -> dict[str, Any]:
    """Return every frame, stripped of its labels, with the pipeline that makes a pseudo-scene of it."""
    pipeline = [
        dict(step, **pasting) if step['type'] == 'PasteObjects' else step
        for step in with_bank(config.pseudo_pipeline, bank_of(inputs))
    ]
    return dict(view_config('UnlabelledView', config, inputs, pipeline), include_labelled=True)
