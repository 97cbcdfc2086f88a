"""What our data sets add to those of MMDetection3D."""

from typing import Any

from mmdet3d.datasets import Det3DDataset

from ssal3d.data.frames import check_classes, check_scans, parse, read_dataset_infos
from ssal3d.data.infos import frame_id
from ssal3d.errors import UserError


class FrameDataset(Det3DDataset):
    """Reads an annotation file without trusting it, checks the scans at the start, and names frames by their ids.

    A frame that nobody labelled is legal in test mode: its ``eval_ann_info`` is None.

    Args:
        metainfo: As in `Det3DDataset`; a misspelt class is a `UserError`.
        kwargs: Of `Det3DDataset`.
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
            return self.parse_labelled(info)
        if self.test_mode:
            return None
        raise UserError(
            f'{self.ann_file}: frame {frame_id(info)} has no labels and cannot be trained on; wrap the data set in a '
            'LabelledView or an UnlabelledView'
        )

    def parse_labelled(self, info: dict[str, Any]) -> dict[str, Any] | None:
        """Parse the annotations of a labelled frame."""
        return super().parse_ann_info(info)
