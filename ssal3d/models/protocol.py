"""What a detector gives beyond MMDetection3D's interface: the contract of detectors, samplers and methods.

A detector is any class of MMDetection3D's ``MODELS``. The stock ones predict boxes, scores and labels; that is enough
for supervised stages, CPSP, random and confidence queries. Each further ability is declared by the class, so that an
experiment that asks for more is refused before anything is trained (`ssal3d.loop.abilities`):

* `QueryDetector`: columns of predictions for samplers, named in ``provides``;
* `FrameTeacher`: what teacher-student methods learn from, named in ``teaches``.

``docs/extending.md`` shows a detector that implements both; ``docs/detectors.md`` has the matrix of what works with
what.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from ssal3d.models.extraction import Extraction

IGNORE_NEGATIVES = 'ignore_negatives'  # metainfo key: nothing is learnt from what is not labelled in the frame
FIRST_STAGE_ONLY = 'first_stage_only'  # metainfo key: nobody reads what the second stage says about the frame

FRAME_LOSSES = 'frame_losses'
REFINED_BOXES = 'refined_boxes'
ANCHOR_MAPS = 'anchor_maps'
RPN_SCORES = 'rpn_scores_3d'
REFINED_ROIS = 'refined_rois'


@dataclass(frozen=True)
class Ability:
    """Something that a teacher-student method may need of a detector.

    Attributes:
        meaning: What the detector gives, for messages and documents.
        member: Method or property of `FrameTeacher` that gives it.
    """

    meaning: str
    member: str


ABILITIES: Mapping[str, Ability] = {
    FRAME_LOSSES: Ability("each frame's own losses after one joint forward", 'frame_outputs'),
    REFINED_BOXES: Ability('refined RoIs through which gradients flow', 'frame_outputs'),
    ANCHOR_MAPS: Ability('class logits and residuals of all anchors', 'anchor_generator'),
    RPN_SCORES: Ability('the score of the proposal that each final box came from', 'predict'),
    REFINED_ROIS: Ability('all refined RoIs before suppression', 'predict'),
}


@dataclass
class FrameOutput:
    """What a detector in training says about one frame; a detector leaves out what it does not declare.

    Attributes:
        losses: Loss terms by name; empty for a frame without ``gt_instances_3d`` (``frame_losses``).
        boxes: ``(R, 7)`` refined RoIs, bottom-centred; gradients flow through them (``refined_boxes``).
        logits: ``(R,)`` their score logits.
        labels: ``(R,)`` their classes.
        rpn_scores: ``(A * C, H, W)`` class logits of the anchors (``anchor_maps``).
        rpn_residuals: ``(A * 7, H, W)`` encoded boxes of the anchors.
    """

    losses: dict[str, Tensor] = field(default_factory=dict)
    boxes: Tensor = field(default_factory=lambda: torch.zeros(0, 7))
    logits: Tensor = field(default_factory=lambda: torch.zeros(0))
    labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    rpn_scores: Tensor = field(default_factory=lambda: torch.zeros(0))
    rpn_residuals: Tensor = field(default_factory=lambda: torch.zeros(0))


class QueryDetector(Protocol):
    """A detector whose predictions hold more than boxes, scores and labels (`ssal3d.predictions.predict_pool`).

    Values per final box stand in ``pred_instances_3d`` of a data sample under the column's name, values per frame or
    RoI in the dict ``frame_predictions`` of the data sample.

    Attributes:
        provides: Columns of the prediction contract that the class can fill.
        gradient_layers: Layers of the column ``gradient``; all of `Extraction` if the class has no such attribute.
        extraction: What to compute now; set by `ssal3d.models.extraction.extracting`.
    """

    provides: ClassVar[frozenset[str]]
    gradient_layers: ClassVar[tuple[str, ...]]
    extraction: Extraction

    def test_step(self, data: Any) -> list[Any]:
        """Return the data samples of a batch with predictions, as every detector of MMDetection3D does."""

    def prediction_metadata(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what readers of the predictions must know: thresholds, name of the class, class quality.

        Args:
            classes: Class names in the order of the detector's labels.
        """


class RoITargets(Protocol):
    """A detector that gives the columns ``roi_scores_target`` and ``roi_residuals_target`` (KECOR)."""

    def roi_targets(self, rois: Any, annotations: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return ``roi_scores_target`` (R,) and ``roi_residuals_target`` (R, 7) of a labelled frame.

        Args:
            rois: The frame's proposals, which `QueryDetector` left in ``frame_predictions['rois']``.
            annotations: ``gt_bboxes_3d`` and ``gt_labels_3d``.
        """


class FrameTeacher(Protocol):
    """A detector that teacher-student methods can train and ask (`ssal3d.semi.detector.SemiDetector3D`).

    Attributes:
        teaches: Names from `ABILITIES`: what the class gives.
        pseudo_label_losses: Names of the losses that pseudo labels may teach: where objects are and how large, not how
            good a box is, because a pseudo label says nothing about that.
    """

    teaches: ClassVar[frozenset[str]]
    pseudo_label_losses: ClassVar[tuple[str, ...]]

    def frame_outputs(self, inputs: dict[str, Any], samples: Sequence[Any]) -> list[FrameOutput]:
        """Run in training mode on a batch and return every frame's own losses and outputs.

        All frames share one forward and so the statistics of batch normalisation; each is normalised by its own
        positives.

        Args:
            inputs: Points and voxels of B frames.
            samples: B data samples. ``gt_instances_3d`` may hold ``weights`` (G,) per box; the metainfo key
                ``ignore_negatives`` leaves everything that is not near a box out of the losses. Frames without
                ``gt_instances_3d`` have no losses. The last frames may have the key ``first_stage_only``: nobody reads
                what a second stage says about them.
        """

    def predict(self, batch_inputs_dict: dict, batch_data_samples: list, **kwargs: Any) -> list[Any]:
        """Return the data samples with predictions.

        ``rpn_scores_3d``: ``pred_instances_3d.rpn_scores_3d`` (N,) in [0, 1]. ``refined_rois``:
        instances in the data sample, with bottom-centred ``bboxes_3d`` (R, 7), ``scores_3d`` and ``labels_3d``.

        Args:
            batch_inputs_dict: Points and voxels.
            batch_data_samples: One per frame.
            **kwargs: As in MMDetection3D.
        """

    @property
    def anchor_generator(self) -> Any:
        """MMDetection3D's generator of the anchors that ``rpn_scores`` and ``rpn_residuals`` are about."""


def lacking(detector: type, needs: frozenset[str]) -> str | None:
    """Return the first ability that a detector's class lacks, or None.

    Args:
        detector: Class of the detector.
        needs: Names from `ABILITIES`.

    >>> lacking(object, frozenset((FRAME_LOSSES,)))
    'frame_losses'
    """
    teaches: frozenset[str] = getattr(detector, 'teaches', frozenset())
    for name, ability in ABILITIES.items():
        if name in needs and (name not in teaches or not hasattr(detector, ability.member)):
            return name
    return None
