"""S-SSAL with CRB instead of CAL."""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/crb_kitti.py']
