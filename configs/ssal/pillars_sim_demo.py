"""What `make demo` runs: S-SSAL in four minutes on two CPU cores, enough for all three classes to be learnt a little.

Run: make demo
"""

_base_ = './pillars_sim.py'

budget = 150  # boxes of the query
train_dataloader = dict(batch_size=2)  # per process; the demo starts two
fine_tuning = dict(max_lr=0.005)  # few steps: at 0.01 the first refresh would find little that is confident
active_sampler = dict(
    caps='inverse_freq',  # Eq. 6: classes with few labels get most of the budget
    class_weights=None,
    dontcare='none',
    s_rep=0.4,  # a young detector's scores are low
    s_add=0.6,
)
stages = dict(
    normal=dict(epochs=4, repeat=8),
    cpsp=dict(epochs=2, repeat=6, interval=1, schedule=fine_tuning),
    supervised=dict(epochs=4, repeat=5),
    semi=dict(epochs=2, repeat=4, interval=1, schedule=fine_tuning),
)
train_cfg = dict(initial=dict(budget=250))
