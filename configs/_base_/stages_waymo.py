"""The training stages of S-SSAL on Waymo: epochs, repeats and clusters of the paper, the rest as in the release.

Only what differs from stages_kitti.py stands here; docs/deviations.md has the released repeats.
"""

_base_ = './stages_kitti.py'

epochs, repeat = 30, 15  # of every stage, and times an epoch goes through the labelled frames
many = dict(train_dataloader=dict(batch_size=8))  # frames of a step of supervised training; 2 in the other stages
bank = dict(k_first=50, k_next=50, tau_low=0.3)  # k-means centres per class; score up to which a box is background
mirrored = dict(flip_x=0.5, flip_y=0.5)  # probabilities of y -> -y and x -> -x
stages = dict(
    normal=dict(epochs=epochs, repeat=repeat, options=many),
    cpsp=dict(
        epochs=epochs,
        repeat=repeat,
        pseudo_ratio=0.5,  # share of pseudo-scenes among the samples
        false_positives=dict(Car=5, Pedestrian=5, Cyclist=5),  # likely false positives pasted per scene, without label
        bank=bank,
    ),
    supervised=dict(epochs=epochs, repeat=repeat, options=many),
    final_cpsp=dict(epochs=epochs, repeat=repeat, pseudo_ratio=0.5, bank=bank),
    threedioumatch=dict(epochs=epochs, repeat=repeat),
    joint3d=dict(epochs=epochs, repeat=repeat),
    nal=dict(epochs=epochs, repeat=repeat),
    hssda=dict(epochs=epochs, method=dict(augmentation=mirrored)),  # on KITTI alone in the paper
)
del epochs, repeat, many, bank, mirrored  # parts of the above, no settings
