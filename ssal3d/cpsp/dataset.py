"""The training data of CPSP: labelled frames mixed with pseudo-scenes."""

from typing import Any

import numpy as np
from mmdet3d.registry import DATASETS

from ssal3d.data.determinism import SeededRepeatDataset
from ssal3d.errors import UserError


@DATASETS.register_module()
class PseudoSceneDataset(SeededRepeatDataset):
    """Wraps the labelled frames and replaces a share of the samples by pseudo-scenes.

    Sample i of an epoch is labelled frame ``i % len(labelled)`` or, with probability ``pseudo_ratio``, a pseudo-scene
    on a background drawn uniformly. Which one is decided before anything is loaded. All of it is a function of (seed,
    epoch, i).

    Args:
        labelled: View of the labelled frames with their training pipeline, or its config.
        backgrounds: View of all frames without annotations; its pipeline starts with the points, `LoadBackground` and
            `PasteObjects`.
        pseudo_ratio: Share of pseudo-scenes in [0, 1]: 0.8 for KITTI, 0.5 for Waymo as released.
        repeat: How often an epoch goes through the labelled frames.
        seed: Seed of all randomness.
        length: As for `SeededRepeatDataset`.
    """

    def __init__(
        self,
        labelled: Any,
        backgrounds: Any,
        pseudo_ratio: float = 0.8,
        repeat: int = 1,
        seed: int = 0,
        length: int | None = None,
    ) -> None:
        super().__init__(labelled, repeat, seed, length)
        if not 0 <= pseudo_ratio <= 1:
            raise UserError(f'found pseudo_ratio {pseudo_ratio}, expected a share in [0, 1]')
        self.backgrounds = DATASETS.build(backgrounds) if isinstance(backgrounds, dict) else backgrounds
        self.pseudo_ratio = pseudo_ratio

    def load(self, index: int, attempt: int, rng: np.random.Generator) -> dict[str, Any] | None:
        """Return a labelled frame or a pseudo-scene.

        Args:
            index: Sample of the epoch.
            attempt: 0, or the number of draws that had no box.
            rng: The sample's generator.
        """
        if rng.random() < self.pseudo_ratio:
            return self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        return super().load(index, attempt, rng)
