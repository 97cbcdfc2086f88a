"""A student and its teacher around any detector of ours: what all semi-supervised methods share."""

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from ssal3d.class_names import per_class
from ssal3d.errors import UserError
from ssal3d.models.protocol import FRAME_LOSSES, FrameOutput

Losses = dict[str, Tensor]
PARTS = ('student.', 'teacher.')


class SemiDetector3D(BaseModel):
    """Trains ``student`` on labelled and unlabelled frames; ``teacher`` follows it through a moving average.

    A checkpoint of the plain detector fills both. Predictions are the student's. Subclasses implement
    `unlabelled_losses`.

    Attributes:
        has_teacher: Whether the method has a teacher.
        needs: What the detector must give, names from `ssal3d.models.protocol.ABILITIES`.

    Args:
        detector: Config of the detector.
        classes: Class names in the order of the labels.
        data_preprocessor: Config of a `SemiDataPreprocessor`.
        teacher_mode: ``'train'`` or ``'eval'``: which batch normalisation and dropout the teacher predicts with.
        unlabelled_weight: Weight of the unlabelled frames' losses.
        init_cfg: As in mmengine.
    """

    has_teacher = True
    needs = frozenset((FRAME_LOSSES,))

    def __init__(
        self,
        detector: Mapping[str, Any],
        classes: Sequence[str],
        data_preprocessor: Mapping[str, Any],
        teacher_mode: str = 'eval',
        unlabelled_weight: float = 1.0,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if teacher_mode not in ('train', 'eval'):
            raise UserError(f"teacher_mode: found {teacher_mode!r}, expected 'train' or 'eval'")
        self.classes = tuple(classes)
        self.student = MODELS.build(detector)
        self.teacher = MODELS.build(detector).requires_grad_(False).eval() if self.has_teacher else None
        self.teacher_mode, self.unlabelled_weight = teacher_mode, unlabelled_weight
        self.register_load_state_dict_pre_hook(_fill_both)

    def by_class(self, value: float | Mapping[str, float], name: str) -> Tensor:
        """Return a setting as ``(C,)`` in the order of the classes.

        Args:
            value: One number, or one by class name.
            name: Name of the setting, for errors.
        """
        return torch.as_tensor(per_class(value, self.classes, name), dtype=torch.float32)

    def init_weights(self) -> None:
        """Initialise the student and make the teacher equal to it."""
        self.student.init_weights()
        if self.teacher is not None:
            self.teacher.load_state_dict(self.student.state_dict())

    def train(self, mode: bool = True) -> 'SemiDetector3D':
        """Set the mode of the student; the teacher's is set for every prediction.

        Args:
            mode: Whether to train.
        """
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Return losses of a batch with branches, or the student's predictions of an ordinary one.

        Args:
            inputs: Points by branch, or points and voxels.
            data_samples: Data samples by branch, or of the batch.
            mode: ``'loss'`` or as the student knows it.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.student(inputs, data_samples, mode)

    def loss(self, points: Mapping[str, Sequence[Tensor]], samples: Mapping[str, Sequence[Any]]) -> Losses:
        """Return the mean losses of the labelled frames and what the method learns from the unlabelled ones.

        Args:
            points: Clouds by branch; the branch ``labelled`` or all others may be missing.
            samples: Data samples by branch.
        """
        clouds, frames = list(points.get('labelled', ())), list(samples.get('labelled', ()))
        others = points.keys() - {'labelled'}
        extra_clouds, extra_frames = self.unlabelled_frames(points, samples) if others else ([], [])
        outputs = self.frame_outputs([*clouds, *extra_clouds], [*frames, *extra_frames])
        losses = mean_losses([output.losses for output in outputs[: len(frames)]]) if frames else {}
        if extra_frames:
            losses |= self.unlabelled_losses(outputs[: len(frames)], outputs[len(frames) :], extra_frames)
        return losses

    @abstractmethod
    def unlabelled_frames(
        self, points: Mapping[str, Sequence[Tensor]], samples: Mapping[str, Sequence[Any]]
    ) -> tuple[list[Tensor], list[Any]]:
        """Return the clouds that the student is to see beside the labelled ones, and their data samples.

        Args:
            points: Clouds by branch: ``teacher`` as recorded, ``student`` augmented, or as the method's data set has
                it.
            samples: Data samples by branch, without ground truth.
        """

    @abstractmethod
    def unlabelled_losses(
        self, labelled: Sequence[FrameOutput], outputs: Sequence[FrameOutput], samples: Sequence[Any]
    ) -> Losses:
        """Return what is learnt from the unlabelled frames, and statistics without 'loss' in their names.

        Args:
            labelled: What the student says about the labelled frames.
            outputs: What it says about the others.
            samples: The data samples that `unlabelled_frames` returned.
        """

    def frame_outputs(self, points: Sequence[Tensor], samples: Sequence[Any]) -> list[FrameOutput]:
        """Return the student's losses and outputs of each frame after one joint forward."""
        return self.student.frame_outputs(self.data_preprocessor.voxelised(points, samples), samples)

    def teacher_predictions(
        self, points: Sequence[Tensor], samples: Sequence[Any], mode: str | None = None
    ) -> list[InstanceData]:
        """Return the teacher's final boxes, see `teacher_samples`."""
        return [sample.pred_instances_3d for sample in self.teacher_samples(points, samples, mode)]

    def teacher_samples(self, points: Sequence[Tensor], samples: Sequence[Any], mode: str | None = None) -> list[Any]:
        """Return data samples with the teacher's predictions; ground truth is never handed over.

        Args:
            points: Clouds.
            samples: Their data samples; only the metainfo is used.
            mode: ``'train'`` or ``'eval'``; ``teacher_mode`` if None.
        """
        assert self.teacher is not None
        return self.predicted_samples(self.teacher, points, samples, (mode or self.teacher_mode) == 'train')

    @torch.no_grad()
    def predicted_samples(
        self, detector: Any, points: Sequence[Tensor], samples: Sequence[Any], training: bool = False
    ) -> list[Any]:
        """Return data samples with a detector's predictions; its mode is the same afterwards.

        Args:
            detector: Student or teacher.
            points: Clouds.
            samples: Their data samples; ground truth is never handed over.
            training: Which batch normalisation and dropout the detector predicts with.
        """
        blank = [without_boxes(sample) for sample in samples]
        with in_mode(detector, training):
            return detector.predict(self.data_preprocessor.voxelised(points, blank), blank)


@contextmanager
def in_mode(module: torch.nn.Module, training: bool) -> Iterator[None]:
    """Let a module and its parts train or not, then give each part its own mode back.

    >>> layer = torch.nn.Linear(1, 1)
    >>> with in_mode(layer, training=False):
    ...     layer.training
    False
    >>> layer.training
    True
    """
    modes = [(part, part.training) for part in module.modules()]
    module.train(training)
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def progress() -> tuple[int, int]:
    """Return the number of finished iterations of the run and their total; (1, 1) outside a run."""
    hub = MessageHub.get_current_instance()
    if 'max_iters' not in hub.runtime_info:
        return 1, 1
    return int(hub.get_info('iter')), int(hub.get_info('max_iters'))


def without_boxes(sample: Any, **meta: Any) -> Det3DDataSample:
    """Return a data sample with the metainfo of another one and nothing else.

    Args:
        sample: Data sample.
        **meta: Further metainfo.
    """
    return Det3DDataSample(metainfo={**sample.metainfo, **meta})


def with_boxes(
    sample: Any, boxes: Tensor, labels: Tensor, weights: Tensor | None = None, **meta: Any
) -> Det3DDataSample:
    """Return a data sample with the metainfo of another one, whose ground truth are the given pseudo labels.

    Args:
        sample: Data sample.
        boxes: ``(N, 7)`` bottom-centred boxes.
        labels: ``(N,)`` classes.
        weights: ``(N,)`` weights of the boxes.
        **meta: Further metainfo.
    """
    result = without_boxes(sample, **meta)
    truth = InstanceData(bboxes_3d=sample.metainfo['box_type_3d'](boxes), labels_3d=labels)
    if weights is not None:
        truth.weights = weights
    result.gt_instances_3d = truth
    return result


def mean_losses(frames: Sequence[Losses], names: Sequence[str] | None = None, prefix: str = '') -> Losses:
    """Return the mean over frames of each loss.

    Args:
        frames: Losses of each frame.
        names: Which of them; all if None.
        prefix: Put before the names.

    >>> mean_losses([{'loss_a': torch.tensor(1.0)}, {'loss_a': torch.tensor(3.0)}], prefix='unlabelled_')
    {'unlabelled_loss_a': tensor(2.)}
    """
    keys = frames[0].keys() if names is None else names
    return {f'{prefix}{name}': torch.stack([losses[name].sum() for losses in frames]).mean() for name in keys}


def _fill_both(module: torch.nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let the weights of a plain detector fill student and teacher."""
    keys = [key for key in state if key.startswith(prefix)]
    parts = PARTS if getattr(module, 'teacher', None) is not None else PARTS[:1]
    if not keys or any(key[len(prefix) :].startswith(PARTS) for key in keys):
        return
    for key in keys:
        value = state.pop(key)
        state.update({f'{prefix}{part}{key[len(prefix) :]}': value.clone() for part in parts})
    versions = getattr(state, '_metadata', {})  # by module; the layout of sparse convolutions depends on it
    versions |= {f'{prefix}{part}{name}': entry for name, entry in list(versions.items()) for part in parts}


def student_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the student's weights out of the weights of a `SemiDetector3D`, as the plain detector names them.

    Args:
        state: A state dict.
    """
    part = PARTS[0]
    found = OrderedDict((key[len(part) :], value) for key, value in state.items() if key.startswith(part))
    versions = getattr(state, '_metadata', {})
    found._metadata = {  # type: ignore[attr-defined]
        name[len(part) :]: entry for name, entry in versions.items() if name.startswith(part)
    }
    return found
