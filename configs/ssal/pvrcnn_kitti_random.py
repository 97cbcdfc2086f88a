"""Ablation: random frames instead of CAL."""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/random_kitti.py']
