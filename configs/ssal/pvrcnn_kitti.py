"""S-SSAL on KITTI with PV-RCNN: 200 + 150 labelled boxes, one round, as in the paper.

Run:      python tools/train.py configs/ssal/pvrcnn_kitti.py
Continue: the same with --resume
"""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/cal_kitti.py']
