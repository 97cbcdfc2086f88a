"""CAL on KITTI, with nothing but what was bought; cal_kitti_paper.py has what S-SSAL's numbers were made with."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='CALSampler',
    # which boxes are there: the query model's, merged with confident ones of the reference model
    s_rep=0.5,  # score above which a reference box may replace an overlapping box with a lower score
    s_add=0.8,  # score above which a reference box that overlaps nothing is added; number or dict by class
    iou_ens=0.5,  # BEV IoU above which two boxes show the same object
    iou_rel=0.2,  # BEV IoU with any reference box above which a box is reliable
    ensemble_after=None,  # merge after any pre-training; ['CPSPStage']: after CPSP only, for which S-SSAL describes it
    ensemble_nms=None,  # BEV IoU above which the highest score alone stays, whatever the classes; None: all stay
    # how uncertain a frame is
    entropy='binary_score',  # of the final score; 'rpn_softmax': Eq. 4 on the column class_logits; 'none': random order
    # how much of it is selected already
    t_sim=0.9,  # similarity from which a frame is rejected
    div='union',  # closest of all selected features (Eq. 5); 'per_frame': most similar frame (released code)
    div_reference='query',  # compare with this query only; 'labelled': with the labelled frames, too
    cluster=None,  # keep at most this many representative features of the selection; None: all
    # how many boxes of each class to buy before the class counts less
    caps='inverse_freq',  # Eq. 6, from labelled counts; 'manual': from class_weights; 'none'
    class_weights=dict(Car=0.3, Pedestrian=1.1, Cyclist=1.6),  # with 'manual' alone: the released code's for KITTI
    u_min=None,  # lowest limit with 'inverse_freq'; None: max(1, 0.1 budget / classes)
    w_full=0.1,  # weight of the uncertainty of a class that reached its limit; number or dict by class
    s_obj=0.3,  # score above which a reliable box counts as an object; number or dict by class
    counts='reliable',  # what fills the class counters: predicted boxes; 'annotated': those of bought frames
    min_precision=0.5,  # share of boxes real on labelled frames; a class below it counts from a higher score; 0: as is
    # what else
    relax=['s_obj', 'classes', 't_sim'],  # what gives way, one after another, if no frame passes; []: nothing
)
