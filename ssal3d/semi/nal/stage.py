"""The training stage of NAL: labels once, from the predictions of the stage before."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ssal3d.errors import UserError
from ssal3d.registry import STAGES
from ssal3d.semi.nal.detector import LoadAutoLabels
from ssal3d.semi.stage import TeacherStudentStage
from ssal3d.stages.supervised import (
    BoxesByFrame,
    StageInputs,
    SupervisedStage,
)


@STAGES.register_module()
class AutoLabelStage(TeacherStudentStage):
    """NAL: confident predictions of the previous stage's model are labels for the whole run, there is no teacher.

    Args:
        tau: Lowest score of a label, one value or by class name.
        min_points: Points that a label must hold.
        **kwargs: As for `TeacherStudentStage`, without ``ema``.

    Raises:
        UserError: If the method's options hold the first two.
    """

    prediction_fields = ('num_points',)

    def __init__(self, tau: float | Mapping[str, float] = 0.9, min_points: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tau, self.min_points = tau, min_points
        for name in ('tau', 'min_points'):
            if name in self.method:
                raise UserError(f"stage of NAL: found {name} among the method's options; give it to the stage itself")
        self.method |= dict(tau=tau, min_points=min_points)  # for the precision in the log

    def student_pipeline(self, config: Config, inputs: StageInputs) -> list[dict[str, Any]]:
        """Return the student's augmentation with the labels loaded first and packed last.

        Raises:
            UserError: If no stage comes before this one.
        """
        if inputs.pool_predictions is None:
            raise UserError(
                f'{inputs.work_dir}: found no predictions to take labels from; let another stage come first, e.g. '
                "pretrain=['normal', 'nal']"
            )
        *steps, pack = super().student_pipeline(config, inputs)
        limits = next(step['point_cloud_range'] for step in steps if 'point_cloud_range' in step)
        boxes = dict(type='ObjectRangeFilter', point_cloud_range=limits)
        loading = dict(type='LoadAutoLabels', **self._rule(config, inputs))
        return [loading, *steps, boxes, dict(pack, keys=[*pack['keys'], 'gt_bboxes_3d', 'gt_labels_3d'])]

    def hooks(self, config: Config, inputs: StageInputs) -> list[dict[str, Any]]:
        """Return the hook that cuts the paste database."""
        return SupervisedStage.hooks(self, config, inputs)

    def pseudo_labels(self, config: Config, inputs: StageInputs) -> BoxesByFrame:
        """Return the automatic labels."""
        return LoadAutoLabels(**self._rule(config, inputs)).labels

    def _rule(self, config: Config, inputs: StageInputs) -> dict[str, Any]:
        """Return the arguments of `LoadAutoLabels`."""
        return dict(
            predictions=str(inputs.pool_predictions),
            tau=self.tau,
            min_points=self.min_points,
            classes=list(config.pool_dataset.metainfo['classes']),
        )
