"""S-SSAL with Monte-Carlo dropout instead of CAL."""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/mc_dropout_kitti.py']
