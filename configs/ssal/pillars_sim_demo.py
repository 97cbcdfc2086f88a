"""S-SSAL in four minutes on two CPU cores: `pillars_sim` with a thinner backbone, more labels and fewer steps.

Run: make demo
"""

_base_ = './pillars_sim.py'

model = dict(backbone=dict(layer_nums=[1, 2, 2]))
query = dict(budget=200)  # boxes per query
fine_tuning = dict(max_lr=0.005)  # as many steps as the demo has; at 0.01 a stage forgets the one before
stages = dict(  # `frames`: what a stage learns from, whatever was bought; the final model has more labels and more time
    normal=dict(epochs=2, frames=1000),
    cpsp=dict(epochs=2, frames=700, interval=1, schedule=fine_tuning),
    supervised=dict(epochs=2, frames=1600),
    final_cpsp=dict(epochs=2, frames=700, interval=1, schedule=fine_tuning),
)
del fine_tuning
train_cfg = dict(initial=dict(query=dict(budget=400)))  # boxes of the random start
val_evaluator = dict(small_sets=True)  # 150 frames hold fewer cyclists than KITTI's sampling of recalls wants
test_evaluator = val_evaluator
