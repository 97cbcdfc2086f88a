"""Simulated streets in the KITTI layout: everything as for KITTI, but another folder.

`tools/simulate.py` writes them, `tools/create_data.py kitti` converts them.
"""

_base_ = './kitti.py'

data_root = '{{$SSAL3D_SIM:data/sim/}}'  # or set the environment variable SSAL3D_SIM
