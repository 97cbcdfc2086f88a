"""A data set of own classes for MMDetection3D: its annotation file says which classes there are."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from mmdet3d.registry import DATASETS

from ssal3d.class_names import unknown_class
from ssal3d.data.frame_dataset import FrameDataset
from ssal3d.data.frames import lidar_annotations
from ssal3d.data.infos import read_infos
from ssal3d.errors import UserError


@DATASETS.register_module()
class FolderDataset(FrameDataset):
    """Frames whose boxes are in the LiDAR frame, of any classes; what `ssal3d create-data folder` writes.

    Args:
        data_root: Folder of the annotation file.
        ann_file: Annotation file; its ``metainfo.categories`` are all classes that were labelled.
        metainfo: ``classes`` are those to train on, by default all.
        **kwargs: Of `Det3DDataset`.
    """

    def __init__(
        self, data_root: str | None = None, ann_file: str = '', metainfo: dict | None = None, **kwargs: Any
    ) -> None:
        path = Path(data_root or '', ann_file)
        categories = _categories(str(path), path.stat().st_mtime_ns if path.exists() else 0)
        chosen = (metainfo or {}).get('classes', categories)
        for name in chosen:
            if name not in categories:
                raise unknown_class(name, categories)
        self.METAINFO = {'classes': categories}  # of this file; the base class maps labels by it
        super().__init__(data_root, ann_file, metainfo={**(metainfo or {}), 'classes': tuple(chosen)}, **kwargs)

    def parse_labelled(self, info: dict[str, Any]) -> dict[str, Any]:
        """Parse the annotations of a labelled frame."""
        return lidar_annotations(self, info)


@lru_cache(maxsize=16)
def _categories(path: str, changed: int) -> tuple[str, ...]:
    """Return the class names of an annotation file in the order of their labels; read again when it changed."""
    del changed
    categories = read_infos(path)['metainfo'].get('categories')
    if not isinstance(categories, dict):
        raise UserError(f'{path}: no metainfo.categories; convert the data with `ssal3d create-data folder`')
    pairs = sorted((label, name) for name, label in categories.items() if label >= 0)
    if [label for label, _ in pairs] != list(range(len(pairs))):
        raise UserError(f'{path}: found the labels {[label for label, _ in pairs]}, expected 0, 1, 2, ...')
    return tuple(name for _, name in pairs)
