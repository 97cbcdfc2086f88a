"""How many boxes an annotator would draw in each frame."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ssal3d.data.infos import check_instances, frame_id
from ssal3d.errors import UserError, unknown_name

COUNT_POLICIES = ('all', 'nonempty')


def annotated_counts(
    infos: dict[str, Any], classes: Sequence[str], count_policy: str = 'all'
) -> dict[str, dict[str, int]]:
    """Count the annotated boxes of each frame by class.

    Nothing is filtered by range, difficulty, truncation or image border; other classes than those asked for never
    count. This is what a simulated annotator reveals after a purchase: keep it away from samplers.

    Args:
        infos: What `ssal3d.data.infos.read_infos` returns.
        classes: Class names to count.
        count_policy: ``all`` boxes, those in ``empty_instances`` included, or only boxes that hold at least one LiDAR
            point (``nonempty``).

    Returns:
        Counts by frame id and class name, zeros included. Frames that nobody labelled are missing.

    Raises:
        UserError: If a class or the policy is unknown, or the infos lack what the policy needs.

    >>> car = {'bbox_label_3d': 2, 'num_lidar_pts': 0}
    >>> frame = {'lidar_points': {'lidar_path': '000007.bin'}, 'instances': [car, {**car, 'num_lidar_pts': 5}]}
    >>> infos = {'metainfo': {'categories': {'Pedestrian': 0, 'Cyclist': 1, 'Car': 2}}, 'data_list': [frame]}
    >>> annotated_counts(infos, ['Car', 'Cyclist'])
    {'000007': {'Car': 2, 'Cyclist': 0}}
    >>> annotated_counts(infos, ['Car'], 'nonempty')
    {'000007': {'Car': 1}}
    """
    categories = infos['metainfo'].get('categories')
    if not isinstance(categories, dict):
        raise UserError('the infos have no metainfo.categories; convert the data with `ssal3d create-data`')
    for name in classes:
        if name not in categories:
            raise unknown_name('class', name, list(categories))
    if count_policy not in COUNT_POLICIES:
        raise unknown_name('count_policy', count_policy, list(COUNT_POLICIES))
    labels = {categories[name]: name for name in classes}
    counts = {}
    labelled = [info for info in infos['data_list'] if 'instances' in info]
    check_instances('annotations', labelled, boxes=False)
    for info in labelled:
        counted = Counter(labels.get(entry['bbox_label_3d']) for entry in _counted(info, count_policy))
        counts[frame_id(info)] = {name: counted[name] for name in classes}
    return counts


def _counted(info: dict[str, Any], count_policy: str) -> list[dict[str, Any]]:
    if count_policy == 'all':
        return [*info['instances'], *info.get('empty_instances', ())]
    try:
        return [instance for instance in info['instances'] if instance['num_lidar_pts'] > 0]
    except KeyError:
        raise UserError(
            f"frame {frame_id(info)} has no num_lidar_pts, which count_policy 'nonempty' needs; convert the data with "
            '`ssal3d create-data`'
        ) from None
