"""The hook that cuts the paste database of supervised training."""

from pathlib import Path
from typing import Any

from mmdet3d.registry import DATASETS, HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.generation import Generation
from ssal3d.bank.planes import tell_missing_planes
from ssal3d.bank.shared_cuts import labelled_cut_by_all, pieces_folder
from ssal3d.data.views import points_loader
from ssal3d.distributed import WORK_LIMIT, barrier
from ssal3d.fileio import remove


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
        view = DATASETS.build(self.labelled)
        labelled = LabelledObjects.from_frames(view.annotated_objects())
        pieces = pieces_folder(self.bank)
        generation = labelled_cut_by_all(points_loader(view), view.metainfo['classes'], labelled, pieces)
        if generation is not None:
            self.bank.publish(generation)
            remove(pieces)
            runner.logger.info(f'paste database: {describe(generation)}')
        barrier(WORK_LIMIT)


def describe(generation: Generation) -> str:
    """Return one line for the log: objects by class and source, and the scores from which a box is confident."""
    parts = []
    for name, sources in generation.meta['objects'].items():
        counts = ', '.join(f'{count} {source.replace("_", " ")}' for source, count in sources.items() if count)
        tau, checked = generation.meta['tau'][name], generation.meta.get('checked', {}).get(name, {})
        note = '' if tau is None else f' (confident from {tau:.2f})'
        if tau is None and checked.get('total'):
            note = (
                f' (held back: of {checked["total"]} confident boxes on labelled frames {checked["right"]} are right)'
            )
        parts.append(f'{name}: {counts or "none"}{note}')
    return '; '.join(parts)
