"""The training stages of S-SSAL on KITTI with the numbers of the authors' release; docs/concepts.md compares the paper."""

schedule = dict(max_lr=0.01)  # one-cycle: 0.001 -> 0.01 -> 1e-7

stages = dict(
    normal=dict(  # supervised on the labelled frames
        type='SupervisedStage',
        epochs=80,
        repeat=10,  # times an epoch goes through the labelled frames; the paper says 5
        schedule=schedule,
    ),
    cpsp=dict(  # collaborative pseudo-scene pre-training, from the weights of `normal`
        type='CPSPStage',
        epochs=80,
        repeat=20,
        schedule=schedule,
        pseudo_ratio=0.8,  # share of pseudo-scenes among the samples
        interval=10,  # epochs between two refreshes of the box bank
        false_positives=dict(Car=3, Pedestrian=3, Cyclist=3),  # likely false positives pasted per scene, without label
        cpsp=dict(
            profile='ours',  # the released rules with their defects mended; or 'released', 'paper'
            k_first=30,  # k-means centres per class when the bank is built
            k_next=20,  # and when it is refreshed
            tau_low=0.2,  # predictions above it are cut out of backgrounds; at or below: likely false positives
        ),
    ),
    supervised=dict(  # final model, from random weights
        type='SupervisedStage',
        epochs=80,
        repeat=5,
        schedule=schedule,
    ),
    semi=dict(  # final model, semi-supervised
        type='CPSPStage',
        epochs=80,
        repeat=10,
        schedule=schedule,
        pseudo_ratio=0.8,
        interval=10,
        cpsp=dict(profile='ours', k_first=30, k_next=20, tau_low=0.15),
    ),
)
