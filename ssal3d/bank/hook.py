"""The hook that cuts the paste database of supervised training."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmdet3d.registry import DATASETS, HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.cutting import cut_labelled_objects
from ssal3d.bank.generation import Generation
from ssal3d.bank.planes import tell_missing_planes
from ssal3d.data.views import points_loader
from ssal3d.distributed import barrier


@HOOKS.register_module()
class PasteBankHook(Hook):
    """Cuts the paste database from the labelled frames, and only from them, before supervised training.

    Args:
        bank: Folder of the bank that the `PasteObjects` of the pipeline reads.
        labelled: Config of the `LabelledView` to cut from.
    """

    priority = 'HIGH'

    def __init__(self, bank: str | Path, labelled: dict[str, Any]) -> None:
        self.bank = BoxBank(bank)
        self.labelled = labelled

    def before_train(self, runner: Runner) -> None:
        """Build and publish the bank; doing it again gives the same bytes."""
        tell_missing_planes(runner.train_dataloader.dataset)
        if is_main_process():
            view = DATASETS.build(self.labelled)
            labelled = LabelledObjects.from_frames(view.annotated_objects())
            with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as executor:  # the kernels release the GIL
                generation = cut_labelled_objects(points_loader(view), view.metainfo['classes'], labelled, executor)
            self.bank.publish(generation)
            runner.logger.info(f'paste database: {describe(generation)}')
        barrier()


def describe(generation: Generation) -> str:
    """Return one line for the log: objects by class and source, and the scores from which a box is confident."""
    parts = []
    for name, sources in generation.meta['objects'].items():
        counts = ', '.join(f'{count} {source.replace("_", " ")}' for source, count in sources.items() if count)
        tau = generation.meta['tau'][name]
        parts.append(f'{name}: {counts or "none"}' + ('' if tau is None else f' (confident from {tau:.2f})'))
    return '; '.join(parts)
