"""Pairs of a labelled and an unlabelled frame: the training data of teacher-student methods."""

import copy
from collections.abc import Sequence
from typing import Any

from mmdet3d.registry import DATASETS
from mmengine.dataset import Compose

from ssal3d.data.determinism import SeededRepeatDataset, generator, seeded_globals

UNLABELLED = 1 << 16  # keeps the draws of the unlabelled frame apart from those of the labelled one


@DATASETS.register_module()
class PairedSemiDataset(SeededRepeatDataset):
    """Gives a labelled frame together with a random unlabelled one, which comes twice: as it is, and augmented.

    A sample is ``{'labelled': ..., 'teacher': ..., 'student': ...}``, each as ``Pack3DDetInputs`` leaves it; the
    metainfo of the student's view says how it was transformed. All of it is a function of (seed, epoch, index).

    Args:
        labelled: View of the labelled frames with their training pipeline, or its config.
        unlabelled: View of unlabelled frames whose pipeline loads the points and no more, or its config.
        teacher_pipeline: Transforms of the view that pseudo labels are made on.
        student_pipeline: Transforms of the view that is learnt from.
        repeat: How often an epoch goes through the labelled frames.
        seed: Seed of all randomness.
        length: As for `SeededRepeatDataset`.
    """

    def __init__(
        self,
        labelled: Any,
        unlabelled: Any,
        teacher_pipeline: Sequence[Any],
        student_pipeline: Sequence[Any],
        repeat: int = 1,
        seed: int = 0,
        length: int | None = None,
    ) -> None:
        super().__init__(labelled, repeat, seed, length)
        self.unlabelled = DATASETS.build(unlabelled) if isinstance(unlabelled, dict) else unlabelled
        self.pipelines = {'teacher': Compose(teacher_pipeline), 'student': Compose(student_pipeline)}

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = {'labelled': super().__getitem__(index)}
        if not len(self.unlabelled):
            return sample
        key = (self.seed, int(self._epoch), index, UNLABELLED)
        frame = self.unlabelled[int(generator(*key).integers(len(self.unlabelled)))]
        with seeded_globals(*key):
            return sample | {name: pipeline(copy.deepcopy(frame)) for name, pipeline in self.pipelines.items()}
