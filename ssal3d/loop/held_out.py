"""Models and pseudo labels measured on the frames that nobody labelled: the only use of their ground truth.

For simulations; nothing is learnt or chosen from it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet3d.registry import METRICS
from mmengine.config import Config

from ssal3d.data.boxes import to_gravity_array
from ssal3d.data.infos import frame_id
from ssal3d.data.label_state import LabelState
from ssal3d.data.views import FrameView
from ssal3d.evaluation.box_precision import count_right
from ssal3d.predictions import read_predictions
from ssal3d.stages.supervised import BoxesByFrame


class HeldOutView(FrameView):
    """The frames that nobody labelled, with their annotations.

    Args:
        dataset: Config of the pool.
        state: What was bought.
    """

    def __init__(self, dataset: dict, state: LabelState) -> None:
        super().__init__(dataset)
        self._bought = set(state.frame_ids)

    def _choose(self, infos: dict[str, Any]) -> list[dict[str, Any]]:
        return [info for info in infos['data_list'] if frame_id(info) not in self._bought]


def measure_predictions(config: Config, state: LabelState, folders: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Return the AP of predictions on the frames that nobody labelled.

    Args:
        config: The experiment's config.
        state: What was bought.
        folders: Predictions of the pool by model.
    """
    data = config.pool_dataset
    metric = METRICS.build(dict(config.val_evaluator, ann_file=f'{data.data_root}/{data.ann_file}'))
    metric.dataset_meta = {'classes': data.metainfo['classes']}
    labelled, results = set(state.frame_ids), {}
    for name, folder in folders.items():
        pool = read_predictions(folder)
        frames = [frame for frame, name_ in enumerate(pool.frame_ids) if str(name_) not in labelled]
        results[name] = metric.compute_metrics(
            [
                {
                    'frame': str(pool.frame_ids[frame]),
                    'boxes': pool.boxes[pool.boxes_of(frame)],
                    'scores': pool.scores[pool.boxes_of(frame)],
                    'labels': pool.labels[pool.boxes_of(frame)],
                }
                for frame in frames
            ]
        )
    return results


def measure_pseudo_labels(
    config: Config, state: LabelState, found: Mapping[str, BoxesByFrame]
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return how many pseudo labels there are and how good, by stage and class.

    Args:
        config: The experiment's config.
        state: What was bought.
        found: Pseudo labels by stage.

    Returns:
        ``number``; ``right``, % of them that overlap an annotated box of the class (BEV IoU above 0.5); ``covered``, %
        of the annotated boxes that one of them overlaps; None of nothing.
    """
    view = HeldOutView(config.pool_dataset.to_dict() | {'pipeline': []}, state)
    truth: BoxesByFrame = {}
    for index, name in enumerate(view.frame_ids):
        annotations = view.get_data_info(index)['ann_info']
        labels = np.asarray(annotations['gt_labels_3d'])
        truth[name] = to_gravity_array(annotations['gt_bboxes_3d'])[labels >= 0], labels[labels >= 0]
    classes = config.pool_dataset.metainfo['classes']
    return {stage: compare_boxes(boxes, truth, classes) for stage, boxes in found.items()}


def compare_boxes(
    found: BoxesByFrame, truth: BoxesByFrame, classes: tuple[str, ...]
) -> dict[str, dict[str, float | None]]:
    """Return number, precision and recall of boxes by class, see `measure_pseudo_labels`; O(boxes^2) within a frame.

    Args:
        found: Boxes by frame; those of frames without an entry in ``truth`` do not count.
        truth: Annotated boxes by frame.
        classes: Class names that labels index.
    """
    counts = torch.zeros(4, len(classes), dtype=torch.long)  # right, found; covered, annotated
    for name, (true_boxes, true_labels) in truth.items():
        boxes, labels = found.get(name, (np.empty((0, 7), np.float32), np.empty(0, np.int64)))
        ours = torch.as_tensor(np.array(boxes, np.float32)), torch.as_tensor(np.array(labels, np.int64))
        theirs = torch.as_tensor(np.array(true_boxes, np.float32)), torch.as_tensor(np.array(true_labels, np.int64))
        counts[:2] += torch.stack(count_right(*ours, *theirs, len(classes)))
        counts[2:] += torch.stack(count_right(*theirs, *ours, len(classes)))
    right, total, covered, annotated = counts.tolist()
    return {
        name: {
            'number': total[index],
            'right': 100 * right[index] / total[index] if total[index] else None,
            'covered': 100 * covered[index] / annotated[index] if annotated[index] else None,
        }
        for index, name in enumerate(classes)
    }
