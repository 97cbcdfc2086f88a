"""Transforms that use the box bank: backgrounds of pseudo-scenes, and pasting objects into any scene."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.paste import PasteSettings, Scene, paste_objects
from ssal3d.data.boxes import to_gravity_array, to_lidar_boxes

NO_BOXES = np.empty((0, 7), np.float32)


@TRANSFORMS.register_module()
class LoadBackground(BaseTransform):
    """Keeps the points of a frame that belong to no predicted or labelled object.

    Must follow the loading of the points at once: the bank's masks are aligned to the points of the file.

    Args:
        bank: Folder of the box bank; its current generation is used.
    """

    def __init__(self, bank: str | Path) -> None:
        self.bank = BoxBank(bank)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Cut the objects out of ``points`` and start empty lists of boxes and labels.

        Args:
            results: Sample with ``frame_id`` and ``points``.
        """
        points = results['points']
        keep = self.bank.open().keep_mask(results['frame_id'], len(points))
        results['points'] = points[keep]
        results['gt_bboxes_3d'] = to_lidar_boxes(np.empty((0, 7)))
        results['gt_labels_3d'] = np.empty(0, dtype=np.int64)
        return results


@TRANSFORMS.register_module()
class PasteObjects(BaseTransform):
    """Pastes objects of the box bank, with collision test and on the road plane (docs/deviations.md#cpsp).

    Randomness comes from NumPy's global generator, as in MMDetection3D's own transforms.

    Args:
        bank: Folder of the box bank; its current generation is used.
        groups: Objects to draw by class name.
        use_ground_plane: Put objects on the frame's ``plane``; frames without one keep the objects' own height.
        settings: Other attributes of `PasteSettings`.

    Attributes:
        hands_on: What ``settings`` are handed to; `ssal3d.checks` reads it.
    """

    hands_on = PasteSettings

    def __init__(
        self, bank: str | Path, groups: Mapping[str, int], use_ground_plane: bool = True, **settings: Any
    ) -> None:
        self.bank = BoxBank(bank)
        self.settings = PasteSettings(groups=dict(groups), **settings)
        self.use_ground_plane = use_ground_plane

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add objects to ``points``, ``gt_bboxes_3d`` and ``gt_labels_3d``.

        Args:
            results: Sample with points, boxes and labels; labels index the classes of the bank. Labelled frames may
                have ``obstacles``, annotated objects of other classes, in the frame of the boxes.
        """
        generation = self.bank.open()
        points, classes = results['points'], np.array(generation.classes)
        scene = Scene(
            points.tensor.numpy(),
            to_gravity_array(results['gt_bboxes_3d']),
            classes[results['gt_labels_3d']],
            obstacles=results.get('obstacles', NO_BOXES),
        )
        rng = np.random.default_rng(np.random.randint(2**31, size=4))  # noqa: NPY002
        plane = results.get('plane') if self.use_ground_plane else None
        scene = paste_objects(scene, generation, self.settings, rng, plane)
        results['points'] = points.new_point(scene.points)
        results['gt_bboxes_3d'] = to_lidar_boxes(scene.boxes)
        results['gt_labels_3d'] = _indices(scene.names, generation.classes)
        return results


def _indices(names: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    order = np.argsort(classes)
    return order[np.searchsorted(np.array(classes), names, sorter=order)].astype(np.int64)
