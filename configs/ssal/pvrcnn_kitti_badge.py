"""S-SSAL with BADGE instead of CAL."""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/badge_kitti.py']
