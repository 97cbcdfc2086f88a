"""S-SSAL with KECOR instead of CAL."""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/kecor_kitti.py']
