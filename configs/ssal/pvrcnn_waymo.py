"""S-SSAL on Waymo with PV-RCNN: 5,000 + 5,000 labelled boxes, one round, CPSP as the final model, as in the paper.

Run:      python tools/train.py configs/ssal/pvrcnn_waymo.py
Continue: the same with --resume
"""

_base_ = [
    '../_base_/datasets/waymo.py',
    '../_base_/models/pvrcnn_waymo.py',
    '../_base_/schedules/onecycle_waymo.py',
    '../_base_/stages_waymo.py',
    '../_base_/experiment_waymo.py',
    '../active/cal_waymo.py',
    '../_base_/default_runtime.py',
]
