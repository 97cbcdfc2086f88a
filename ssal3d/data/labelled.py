"""What is labelled already when an experiment begins: from label files to a label state."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssal3d.data.counts import annotated_counts
from ssal3d.data.infos import frame_ids
from ssal3d.data.label_state import LabelState

FOLDER = 'labels'


def write_label_state(out: Path, split: str, pool: str, infos: dict[str, Any], classes: Sequence[str]) -> Path | None:
    """Write which frames of a partly labelled split are labelled, with their boxes, as round 0.

    A split without labels has no such file. Neither has a fully labelled one, unless it was partly labelled before.

    Args:
        out: Folder of the annotation files.
        split: Name of the split; the file of ``train`` is ``labels/round_0.json``, of others
            ``labels/<split>/round_0.json``.
        pool: Name of the pool in the file.
        infos: The converted split.
        classes: Class names that are counted.

    Returns:
        The file, if there is one.
    """
    path = out / FOLDER / ('' if split == 'train' else split) / 'round_0.json'
    counts = annotated_counts(infos, classes)
    if not counts or (len(counts) == len(infos['data_list']) and not path.exists()):
        return None
    LabelState.empty(classes, pool, frame_ids(infos)).buy(0, list(counts.items())).write(path)
    return path
