"""S-SSAL with least confident frames instead of CAL."""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/confidence_kitti.py']
