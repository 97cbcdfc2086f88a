"""Simulated drives with labels all around: everything as for Waymo, but another folder.

`tools/simulate.py --preset waymo` writes them.
"""

_base_ = './waymo.py'

data_root = '{{$SSAL3D_SIM_360:data/sim_360/}}'  # or set the environment variable SSAL3D_SIM_360
