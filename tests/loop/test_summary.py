"""The tables at the end of an experiment."""

from ssal3d.loop.summary import _row, _shown


def test_waymos_shares_are_shown_as_percent_by_the_names_of_the_data_set():
    metrics = {'waymo/VEHICLE_L2_AP': 0.5, 'waymo/mean_L2_APH': 0.25, 'waymo/VEHICLE_L1_AP': 0.9}
    title, shown = _shown([metrics])
    assert title == 'AP and APH (level 2, %)'
    assert _row(metrics, ['Car', 'Cyclist', 'mean'], shown) == [50.0, None, None, None, None, 25.0]


def test_other_metrics_are_shown_as_they_are():
    metrics = {'kitti/Car_bev_R40_moderate': 0.5}
    _, shown = _shown([metrics])
    assert _row(metrics, ['Car'], shown)[0] == 0.5
