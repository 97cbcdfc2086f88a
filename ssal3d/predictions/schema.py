"""The columns of the prediction contract and how each is laid out on disk and in memory."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from ssal3d.errors import unknown_name

METADATA_KEY = b'ssal3d'
BOX_CONVENTION = 'gravity_center_xyz_dxdydz_yaw'


class Layout(Enum):
    """How the values of a column belong to frames."""

    BOX = 'one row per final box'
    FRAME = 'one fixed-size row per frame'
    RAGGED = 'a flat list per frame'


@dataclass(frozen=True)
class Column:
    """One column of the contract.

    Attributes:
        name: Column name.
        layout: How values belong to frames.
        dtype: Type that is written.
        width: Values per row; 1 for scalars, 0 where the detector decides (number of classes, feature dimension).
        meaning: One line for people.
    """

    name: str
    layout: Layout
    dtype: type[np.generic]
    width: int
    meaning: str


REQUIRED = ('bboxes_3d', 'scores_3d', 'labels_3d')

COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column('bboxes_3d', Layout.BOX, np.float32, 7, 'final boxes after NMS, gravity centre, LiDAR frame, m and rad'),
        Column('scores_3d', Layout.BOX, np.float32, 1, 'final confidence in [0, 1]'),
        Column('labels_3d', Layout.BOX, np.int16, 1, 'index into the classes of the metadata'),
        Column('class_logits', Layout.BOX, np.float32, 0, 'one-vs-all class logits of each final box'),
        Column(
            'box_features',
            Layout.BOX,
            np.float16,
            0,
            'feature of each final box: of its RoI, or of the feature map at its centre',
        ),
        Column('num_points', Layout.BOX, np.int32, 1, 'LiDAR points inside each final box'),
        Column('roi_index', Layout.BOX, np.int32, 1, 'index of the RoI that became the final box'),
        Column('roi_features', Layout.FRAME, np.float16, 0, 'features of all R test RoIs, zero padded'),
        Column('roi_valid', Layout.RAGGED, np.bool_, 1, 'which of the R RoIs exist'),
        Column('mc_scores', Layout.RAGGED, np.float32, 1, 'Monte-Carlo dropout probabilities (M, R), row-major'),
        Column('mc_residuals', Layout.RAGGED, np.float32, 1, 'Monte-Carlo dropout residuals (M, R, 7), row-major'),
        Column('gradient', Layout.FRAME, np.float32, 0, 'gradient embedding'),
        Column('predicted_loss', Layout.FRAME, np.float32, 1, 'output of a loss-prediction network'),
        Column(
            'roi_scores_target', Layout.FRAME, np.float32, 0, 'confidence targets of the R RoIs of a labelled frame'
        ),
        Column(
            'roi_residuals_target', Layout.FRAME, np.float32, 0, 'residual targets (R, 7) of the same RoIs, row-major'
        ),
        Column('lidar2img', Layout.FRAME, np.float32, 16, 'projection matrix, row-major'),
        Column('image_shape', Layout.FRAME, np.float32, 2, 'image height and width in pixels'),
    )
}


def column(name: str) -> Column:
    """Return the column called ``name``.

    Raises:
        UserError: If the contract has no such column.
    """
    if name not in COLUMNS:
        raise unknown_name('prediction field', name, list(COLUMNS))
    return COLUMNS[name]
