"""What the metrics share: results that can travel between processes, and the annotated frame of each result."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray

from ssal3d.data.boxes import to_gravity_array
from ssal3d.evaluation.annotated_frames import AnnotatedFrames
from ssal3d.log import tell

Result = dict[str, Any]


class FrameMetric(BaseMetric):
    """A metric whose results are ``{'frame', 'boxes', 'scores', 'labels'}`` of every frame.

    ``frame`` is the frame's id or, for samples that do not tell their LiDAR file, its position in the annotation file;
    ``boxes`` are ``(N, 7)`` gravity-centred in the LiDAR frame, ``scores`` ``(N,)`` and ``labels`` ``(N,)`` indices
    into the data set's classes.

    Args:
        ann_file: The data set's annotation file (infos, format v2).
        collect_device: ``'cpu'`` or ``'gpu'``, how the results of all processes are collected.
        prefix: Takes the place of the metric's own prefix in the keys.
    """

    def __init__(self, ann_file: str, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.frames = AnnotatedFrames(ann_file)

    def check_frames(self, frames: Sequence[str] | None) -> None:
        """Look at what will be evaluated, before anything is trained.

        Args:
            frames: Ids of the frames; None for all of the annotation file.

        Raises:
            UserError: If a frame is missing or unlabelled, or a label cannot be right.
        """
        chosen = self.frames.check(frames)
        for warning in self.check_labels([self.frames.find(frame) for frame in chosen]):
            tell(warning, logging.WARNING)

    def check_labels(self, frames: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
        """Check labels and return lines of warning; metrics say what they need.

        Args:
            frames: Ids and entries of the frames that will be evaluated.
        """
        del frames
        return []

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what evaluation needs of every frame's prediction: small arrays that can travel between processes."""
        del data_batch
        for sample in data_samples:
            predicted = sample['pred_instances_3d']
            self.results.append(
                {
                    'frame': Path(sample['lidar_path']).stem if 'lidar_path' in sample else sample['sample_idx'],
                    'boxes': to_gravity_array(predicted['bboxes_3d']),
                    'scores': predicted['scores_3d'].detach().cpu().numpy(),
                    'labels': predicted['labels_3d'].detach().cpu().numpy(),
                }
            )

    def annotated_frames(self, results: Sequence[Result]) -> tuple[dict[str, Any], list[tuple[str, dict, Result]]]:
        """Find the annotations of every frame that was predicted.

        Args:
            results: One for each frame; of several for one frame the last counts, because a padded batch repeats
                frames.

        Returns:
            The annotation file's ``metainfo``, and for each frame its id, its entry and its result without boxes and
            scores that are not finite.

        Raises:
            UserError: If a frame is not in the annotation file, or has no labels.
        """
        predicted = {result['frame']: result for result in results}
        if len(predicted) < len(self.frames.ids):
            tell(f'evaluating {len(predicted)} of the {len(self.frames.ids)} frames in {self.frames.ann_file}')
        frames = []
        for frame, result in predicted.items():
            name, info = self.frames.find(frame)
            good = _finite_boxes(name, result)
            frames.append((name, info, {key: result[key][good] for key in ('boxes', 'scores', 'labels')}))
        return self.frames.metainfo, frames


def _finite_boxes(frame: str, result: Mapping[str, NDArray]) -> NDArray[np.bool_]:
    good = np.isfinite(result['boxes']).all(axis=1) & np.isfinite(result['scores'])
    if not good.all():
        tell(
            f'frame {frame}: {(~good).sum()} of {len(good)} predicted boxes are not finite and left out; the training '
            'may have diverged',
            logging.WARNING,
        )
    return good
