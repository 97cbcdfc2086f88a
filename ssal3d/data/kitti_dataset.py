"""MMDetection3D's KITTI data set, reading its annotation file without trusting it and naming frames by their ids."""

from typing import Any

from mmdet3d.datasets import KittiDataset
from mmdet3d.registry import DATASETS

from ssal3d.data.frames import check_classes, check_scans, lidar_annotations, parse, read_dataset_infos
from ssal3d.data.infos import frame_id
from ssal3d.errors import UserError


@DATASETS.register_module()
class KittiFrameDataset(KittiDataset):
    """`KittiDataset` for val and test sets, and inside the views.

    It differs in five ways: annotation files cannot run code, a missing or cut scan is found at the start, frames that
    nobody labelled are legal in test mode (their ``eval_ann_info`` is None), labelled frames need no camera (their boxes
    are then in the LiDAR frame), and samples carry their ``frame_id``.

    Args:
        metainfo: As in `KittiDataset`; a misspelt class is a `UserError`.
        kwargs: Of `KittiDataset`.
    """

    def __init__(self, *args: Any, metainfo: dict | None = None, **kwargs: Any) -> None:
        check_classes(metainfo, self.METAINFO['classes'])
        super().__init__(*args, metainfo=metainfo, **kwargs)

    @property
    def frame_ids(self) -> list[str]:
        """Ids of all frames in the order of the data set."""
        return [self.get_data_info(index)['frame_id'] for index in range(len(self))]

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read and parse the annotation file."""
        infos = read_dataset_infos(self)
        self._indices = None  # applied by read_dataset_infos
        samples = parse(self, infos)
        check_scans(samples, self.backend_args)
        return samples

    def parse_data_info(self, info: dict[str, Any]) -> dict[str, Any]:
        """Parse a frame and add its id."""
        name = frame_id(info)
        return super().parse_data_info(info) | {'frame_id': name}

    def parse_ann_info(self, info: dict[str, Any]) -> dict[str, Any] | None:
        """Parse the annotations; None for a frame that nobody labelled.

        Raises:
            UserError: If such a frame is to be trained on.
        """
        if 'instances' in info:
            return super().parse_ann_info(info) if 'images' in info else lidar_annotations(self, info)
        if self.test_mode:
            return None
        raise UserError(
            f'{self.ann_file}: frame {frame_id(info)} has no labels and cannot be trained on; wrap the data set in a '
            'LabelledView or an UnlabelledView'
        )
