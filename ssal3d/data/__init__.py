"""Where frames and labels come from: converters, label state, and views that hide what nobody bought."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.data.infos import read_infos as read_infos
    from ssal3d.data.infos import write_infos as write_infos
    from ssal3d.data.kitti_converter import convert_kitti as convert_kitti
    from ssal3d.data.label_state import LabelledFrame as LabelledFrame
    from ssal3d.data.label_state import LabelState as LabelState
    from ssal3d.data.views import LabelledView as LabelledView
    from ssal3d.data.views import UnlabelledView as UnlabelledView

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'infos': ['read_infos', 'write_infos'],
        'kitti_converter': ['convert_kitti'],
        'label_state': ['LabelState', 'LabelledFrame'],
        'views': ['LabelledView', 'UnlabelledView'],
    },
)
