"""The rival in `make demo`: the same experiment with a random query."""

_base_ = './pillars_sim_demo.py'
active_sampler = 'ssal3d::active/random_kitti.py'
