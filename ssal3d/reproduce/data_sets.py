"""The data sets of the tables: their configs, their tables, and what is printed of them."""

from dataclasses import dataclass

from ssal3d.errors import unknown_name
from ssal3d.reproduce.rows import BENCHMARK, FIG_6, FIG_7, KITTI_TABLES, SCORES, WAYMO_TABLES, Row

KITTI_METRICS = ('Car_mod_mAP', 'Ped_mod_mAP', 'Cyc_mod_mAP', 'Avg_mod_mAP')
BEV_METRICS = ('Car_mod_BEV_mAP', 'Ped_mod_BEV_mAP', 'Cyc_mod_BEV_mAP', 'Avg_mod_BEV_mAP')  # the benchmark's questions
WAYMO_METRICS = ('Veh_L1_mAP', 'Ped_L1_mAP', 'Cyc_L1_mAP', 'Avg_L1_mAP', 'Avg_L2_mAP')
CALIBRATION_METRICS = ('Veh_D-ECE', 'Ped_D-ECE', 'Cyc_D-ECE', 'Avg_D-ECE')
NEED_SECOND_STAGE = frozenset(('3DIoUMatch', 'Joint3D', 'HSSDA', 'CRB', 'KECOR'))
CURVE_METRICS = tuple(f'Avg_L1_mAP_round_{number}' for number in range(1, 6))


@dataclass(frozen=True)
class DataSet:
    """A data set that tables are measured on.

    Attributes:
        name: For the command line.
        config: Config that all rows have in common.
        samplers: End of the names of the samplers' configs.
        tables: Those that it is for.
        about: What is ours and what the paper's, for people.
        two_stages: Whether its detector has the second stage that some methods learn from or choose with.
        frames: Name of the data set whose frames it has.
        beside: Numbers that its tables show beside the paper's.
        tuned_on: Seeds that its settings were found on: they are shown, and answer no question.
    """

    name: str
    config: str
    samplers: str
    tables: tuple[str, ...]
    about: str = ''
    two_stages: bool = True
    frames: str = ''
    beside: tuple[str, ...] = ()
    tuned_on: tuple[int, ...] = ()

    def lacks(self, row: Row) -> str:
        """Return which method of a row its detector cannot run; '' if it can run all."""
        parts = (row.pretrain, row.sampler, row.final)
        return '' if self.two_stages else next((name for name in parts if name in NEED_SECOND_STAGE), '')


DATA_SETS = {
    data.name: data
    for data in (
        DataSet(
            'sim',
            'ssal3d::paper/sim.py',
            'kitti',
            (*KITTI_TABLES, BENCHMARK, SCORES),
            'ours: simulated streets, a small detector; the paper: KITTI, PV-RCNN',
            two_stages=False,
            frames='sim',
            beside=BEV_METRICS[-1:],  # what its pilot decided for
            tuned_on=(0,),
        ),
        DataSet('kitti', 'ssal3d::paper/kitti.py', 'kitti', (*KITTI_TABLES, BENCHMARK, SCORES), frames='kitti'),
        DataSet(
            'kitti-pillars',
            'ssal3d::paper/kitti_pillars.py',
            'kitti',
            (*KITTI_TABLES, BENCHMARK, SCORES),
            'ours: a few real frames, a small detector; the paper: KITTI, PV-RCNN',
            two_stages=False,
            frames='kitti',
            beside=BEV_METRICS[-1:],
        ),
        DataSet(
            'sim-360',
            'ssal3d::paper/sim_360.py',
            'waymo',
            (*WAYMO_TABLES, SCORES),
            'ours: simulated drives, a small detector; the paper: Waymo, PV-RCNN',
            two_stages=False,
            frames='sim-360',
        ),
        DataSet(
            'sim-360-pvrcnn',
            'ssal3d::paper/sim_360_pvrcnn.py',
            'waymo',
            (*WAYMO_TABLES, SCORES),
            'ours: simulated drives, a small PV-RCNN; the paper: Waymo, PV-RCNN',
            frames='sim-360',
        ),
        DataSet('waymo', 'ssal3d::paper/waymo.py', 'waymo', (*WAYMO_TABLES, SCORES), frames='waymo'),
    )
}


def data_set(name: str | None, table: str) -> DataSet:
    """Return a data set by its name.

    Args:
        name: Its name; None for the simulation that the table can be measured on.
        table: The table, as in `Row.table`.

    Raises:
        UserError: If the table is not measured on it.
    """
    fitting = {key: data for key, data in DATA_SETS.items() if table in data.tables}
    if name is None:
        return next(iter(fitting.values()))
    if name not in fitting:
        raise unknown_name(f'data set for {table}', name, list(fitting))
    return fitting[name]


def metrics_of(table: str, data: DataSet) -> tuple[str, ...]:
    """Return the numbers that a table shows.

    Args:
        table: As in `Row.table`.
        data: What it is measured on.
    """
    if table in ('8', FIG_7):
        return CALIBRATION_METRICS
    if table == FIG_6:
        return CURVE_METRICS
    if table == BENCHMARK:
        return *BEV_METRICS, KITTI_METRICS[-1]
    return *(KITTI_METRICS if data.samplers == 'kitti' else WAYMO_METRICS), *data.beside


def unit_of(table: str, data: DataSet) -> str:
    """Return what the numbers of `metrics_of` are, for a title."""
    if table in ('8', FIG_7):
        return 'D-ECE'
    if table == BENCHMARK:
        return "AP (R40, moderate, %) in bird's-eye view, at last the mean in 3D"
    last = ", at last the mean in bird's-eye view" if BEV_METRICS[-1] in data.beside else ''
    return f'3D AP (R40, moderate, %){last}' if data.samplers == 'kitti' else 'AP (%)'
