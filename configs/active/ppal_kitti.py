"""PPAL on KITTI with the settings of its paper; score_thr is that of the final boxes of a 3D detector."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='PPALSampler',
    # how uncertain a frame is; the quality of each class comes with the predictions (class_quality of the RoI head)
    alpha=0.3,  # curvature of the weight of a class over its quality: the lower, the longer the weight stays high
    beta=0.2,  # a class of quality 0 counts for 1 + beta, one of quality 1 for 1
    score_thr=0.1,  # boxes below this score do not count
    # which of the most uncertain frames are unlike each other
    delta=4,  # frames to compare per frame to buy
    max_boxes=100,  # boxes to compare per frame, those with the highest scores
    iterations=100,  # most rounds of k-medoids; it stops when no medoid moves
)
