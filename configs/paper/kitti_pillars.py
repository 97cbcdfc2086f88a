"""What every row has in common on some hundred real frames in the KITTI layout, for CPUs: the pillar detector.

`tools/reproduce.py run benchmark --dataset kitti-pillars` adds the row and the seed.
"""

_base_ = './sim.py'

data_root = '{{$SSAL3D_KITTI:data/kitti/}}'  # or set the environment variable SSAL3D_KITTI
query = dict(budget=60)  # boxes per query
stages = {name: dict(frames=3000) for name in _base_.stages}  # frames that a model learns from in each stage
train_cfg = dict(
    initial=dict(query=dict(budget=60)),  # boxes of the random start
    held_out_report=True,  # measures models on the frames that stay unlabelled, too: those to measure on are few
)
val_evaluator = dict(small_sets=True)  # few frames hold fewer objects than KITTI's sampling of recalls wants
test_evaluator = val_evaluator
