"""The settings of CPSP and its three profiles."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.class_names import per_class
from ssal3d.errors import UserError, unknown_name

CHOICES: dict[str, tuple[str, ...]] = {
    'measure': ('score', 'entropy'),
    'select': ('top_centroid', 'top_cluster'),
    'support': ('all_predictions', 'confident'),
    'fp_source': ('unlabelled', 'labelled', 'none'),
}


@dataclass(frozen=True)
class CPSPSettings:
    """Everything that decides what enters the box bank; the defaults are the profile ``ours`` for KITTI pre-training.

    Per-class values may be one number for all classes or a dictionary by class name. What the paper and the released
    code do is compared in docs/deviations.md#cpsp.

    Attributes:
        k_first: Clusters per class at the first build (Waymo 60).
        k_next: Clusters per class at a refresh (Waymo pre-training 50).
        select: ``'top_centroid'`` takes scores from the best cluster's centre upwards, ``'top_cluster'`` all of it.
        measure: ``'score'`` clusters the scores; ``'entropy'`` clusters the binary entropy of scores above 0.5.
        stability_filter: At a refresh, cluster only predictions that the previous refresh had, too.
        stability_iou: BEV IoU above which a prediction counts as repeated.
        seed: Seed of k-means.
        n_init: Starts of k-means.
        tau_low: Score up to which a prediction counts as background and is never confident (KITTI final model 0.15,
            Waymo 0.3).
        tau_low_quantile: Take ``tau_low`` as this quantile of each class's scores instead.
        match_iou: BEV IoU above which a prediction supports a bank object.
        match_same_class: Whether only predictions of the same class support a bank object.
        support: Whether ``'all_predictions'`` support a bank object or only ``'confident'`` ones.
        del_after: Refreshes in a row without support after which a bank object is deleted, 1 to 255.
        replace_on_tie: Whether an equally uncertain prediction replaces a bank object; Eq. 1 keeps the object.
        one_per_prediction: Whether a prediction stands for one bank object at most.
        keep_in_empty_frames: Whether a frame without predictions costs its objects a miss; otherwise they all vanish.
        mask_bank_boxes: Whether the points of bank objects leave the background of their frame.
        fp_source: Where false positives come from: low scores in unlabelled frames, or predictions on labelled frames
            that touch no annotated box; ``'none'`` stores none.
        fp_min_points: Points that a false positive needs.
        fp_min_score: Score above which a false positive on a labelled frame is stored.
        fp_clear_of_bank: Whether false positives must not touch a bank object.
        min_precision: Share of a class's confident predictions on the labelled frames that must overlap an annotated
            box of the class (BEV IoU above ``match_iou``), in [0, 1]. Below it nothing of the class is confident, and
            its objects leave the bank, until the next refresh. With fewer than ``checked_from`` such predictions the
            share is unknown and the class passes. The model has learnt from these frames, so on others the share is
            lower. 0: not checked, as in the paper.
        checked_from: Confident predictions on labelled frames from which on their share means something.
    """

    k_first: int | Mapping[str, int] = 30
    k_next: int | Mapping[str, int] = 20
    select: str = 'top_centroid'
    measure: str = 'score'
    stability_filter: bool = True
    stability_iou: float = 0.5
    seed: int = 0
    n_init: int = 10
    tau_low: float | Mapping[str, float] = 0.2
    tau_low_quantile: float | None = None
    match_iou: float = 0.5
    match_same_class: bool = False
    support: str = 'all_predictions'
    del_after: int = 1
    replace_on_tie: bool = False
    one_per_prediction: bool = True
    keep_in_empty_frames: bool = True
    mask_bank_boxes: bool = True
    fp_source: str = 'unlabelled'
    fp_min_points: int = 5
    fp_min_score: float = 0.2
    fp_clear_of_bank: bool = True
    min_precision: float | Mapping[str, float] = 0.0
    checked_from: int = 5

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise unknown_name(name, getattr(self, name), list(choices))
        if not 1 <= self.del_after <= 255:
            raise UserError(f'found del_after {self.del_after}, expected 1 to 255')
        if self.tau_low_quantile is not None and not 0 <= self.tau_low_quantile <= 1:
            raise UserError(f'found tau_low_quantile {self.tau_low_quantile}, expected a share in [0, 1]')

    @property
    def looks_at_labelled_frames(self) -> bool:
        """Whether the model must predict the labelled frames, too."""
        shares = self.min_precision.values() if isinstance(self.min_precision, Mapping) else [self.min_precision]
        return self.fp_source == 'labelled' or any(share > 0 for share in shares)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {k: dict(v) if isinstance(v, Mapping) else v for k, v in dataclasses.asdict(self).items()}

    def clusters(self, classes: Sequence[str], first: bool) -> list[int]:
        """Return the number of clusters of each class at the first build or at a refresh."""
        setting = 'k_first' if first else 'k_next'
        clusters = [int(value) for value in per_class(getattr(self, setting), classes, setting)]
        for name, number in zip(classes, clusters):
            if number < 1:
                raise UserError(f"found {setting} {number} for class '{name}', expected at least 1")
        return clusters


PROFILES: dict[str, dict[str, Any]] = {
    'ours': {},
    'released': {
        'replace_on_tie': True,
        'one_per_prediction': False,
        'keep_in_empty_frames': False,
        'mask_bank_boxes': False,
        'fp_min_points': 1,
        'fp_clear_of_bank': False,
    },
    'paper': {
        'k_first': 20,
        'k_next': 20,
        'select': 'top_cluster',
        'measure': 'entropy',
        'stability_filter': False,
        'support': 'confident',
    },
}


def cpsp_settings(profile: str = 'ours', **changes: Any) -> CPSPSettings:
    """Return a profile with changes.

    Args:
        profile: ``'ours'`` (released behaviour with its defects fixed), ``'released'`` or ``'paper'``.
        **changes: Any attribute of `CPSPSettings`.

    Raises:
        UserError: If the profile or a setting does not exist.

    >>> cpsp_settings('released', k_first=60, k_next=50, tau_low=0.3).k_first
    60
    """
    if profile not in PROFILES:
        raise unknown_name('CPSP profile', profile, list(PROFILES))
    names = [field.name for field in dataclasses.fields(CPSPSettings)]
    for name in changes:
        if name not in names:
            raise unknown_name('CPSP setting', name, names)
    return CPSPSettings(**{**PROFILES[profile], **changes})


def low_thresholds(
    scores: NDArray[np.floating], labels: NDArray[np.integer], classes: Sequence[str], settings: CPSPSettings
) -> dict[str, float]:
    """Return by class the score up to which a prediction counts as background.

    Args:
        scores: ``(K,)`` scores of all predictions, used only with `CPSPSettings.tau_low_quantile`.
        labels: ``(K,)`` indices into ``classes``.
        classes: Class names.
        settings: Fixed values, or the quantile; a class without predictions keeps its fixed value.
    """
    low = dict(zip(classes, per_class(settings.tau_low, classes, 'tau_low').tolist()))
    if settings.tau_low_quantile is not None:
        for label, name in enumerate(classes):
            class_scores = scores[labels == label]
            if len(class_scores):
                low[name] = float(np.quantile(class_scores.astype(np.float64), settings.tau_low_quantile))
    return low
