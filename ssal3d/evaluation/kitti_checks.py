"""What must be right about labels and detections before KITTI's AP means anything."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ssal3d.class_names import nearest_class
from ssal3d.data.kitti_format import CLASSES, DONT_CARE
from ssal3d.data.kitti_objects import KittiFrames, KittiObjects, check_boxes
from ssal3d.errors import UserError

MOST_WITHOUT_IMAGE = 0.1  # share of image boxes that may be missing: what is clipped at the border loses its height


def check_input(truth: KittiFrames, detections: KittiFrames, classes: Sequence[str]) -> list[str]:
    """Check labels and detections of the same frames.

    Args:
        truth: Labels.
        detections: Detections.
        classes: Class names that are evaluated.

    Returns:
        Lines of warning.

    Raises:
        UserError: If the numbers of frames differ, a 3D box cannot be one, detections have a class that nobody knows,
            or too many image boxes are missing.
    """
    if len(truth) != len(detections):
        raise UserError(f'found {len(detections)} frames of detections, expected {len(truth)} as in the ground truth')
    for frames, kind in ((truth, 'ground truth'), (detections, 'detections')):
        check_boxes(frames, [f'{kind}, frame {number}' for number in range(len(frames))])
    _check_names(truth.objects, detections.objects, classes)
    evaluated = np.isin(truth.objects.lower_names, [name.lower() for name in classes])
    return [
        *_check_image_boxes(truth.objects[evaluated], 'ground truth of the evaluated classes'),
        *_check_image_boxes(detections.objects, 'detections'),
    ]


def without_3d(truth: KittiObjects, detections: KittiObjects, name: str) -> tuple[bool, list[str]]:
    """Tell whether a class cannot be evaluated in bird's-eye view and 3D because its 3D boxes are placeholders.

    Args:
        truth: All labels.
        detections: All detections.
        name: Class name.

    Returns:
        Whether nothing can be evaluated, and lines of warning.

    Raises:
        UserError: If some labels of the class have a 3D box and others have none.
    """
    missing, warnings = False, []
    for objects, kind in ((truth, 'ground truth'), (detections, 'detection')):
        of_class = objects[objects.lower_names == name.lower()]
        none = int((~of_class.has_3d_box).sum())
        if none == len(of_class) > 0:
            missing = True
            warnings.append(f'{name}: no {kind} has a 3D box, so bev and 3d are not evaluated')
        elif none and kind == 'ground truth':
            raise UserError(
                f'ground truth: {none} of {len(of_class)} objects of class {name} have no 3D box (-1 -1 -1 -1000 ...), so what '
                'is found there would be an error; complete or remove them'
            )
        elif none:
            warnings.append(
                f'{name}: {none} of {len(of_class)} detections have no 3D box; they are errors in bev and 3d'
            )
    return missing, warnings


def _check_names(truth: KittiObjects, detections: KittiObjects, classes: Sequence[str]) -> None:
    known = {name.lower(): name for name in (DONT_CARE, *CLASSES, *set(truth.names.tolist()), *classes)}
    counts = Counter(detections.names.tolist())
    strange = {name: count for name, count in counts.items() if name.lower() not in known}
    if not strange:
        return
    expected = list(dict.fromkeys((*classes, *sorted(set(truth.names.tolist()) - {DONT_CARE}))))
    meant = [(name, nearest_class(name, expected)) for name in strange]
    hint = ', '.join(f"'{nearest}' for '{name}'" for name, nearest in meant if nearest)
    raise UserError(
        f'detections: unknown class {", ".join(f"{name!r} ({count} boxes)" for name, count in strange.items())}, expected '
        f'one of {", ".join(expected)}; rename {"them" if len(strange) > 1 else "it"}'
        + (f', did you mean {hint}?' if hint else ' or remove the boxes')
    )


def _check_image_boxes(objects: KittiObjects, what: str) -> Iterator[str]:
    """Count image boxes without height; NaN says on purpose that there is no image."""
    missing: NDArray[np.bool_] = ~objects.has_image_box & ~np.isnan(objects.bbox).any(axis=1)
    if not missing.any():
        return
    found = f'{what}: {missing.sum()} of {len(objects)} image boxes have no height'
    if missing.mean() > MOST_WITHOUT_IMAGE:
        # Without this check, LiDAR-only data would silently score 0.
        raise UserError(
            f'{found}, but KITTI ignores what is not at least 25 pixels tall; add image boxes, or evaluate without the '
            'image (--no-image, without_image_boxes)'
        )
    yield f'{found}; such objects are too small for every difficulty'
