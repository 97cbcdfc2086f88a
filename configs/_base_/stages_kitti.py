"""The training stages of S-SSAL on KITTI with the numbers of the authors' release; docs/deviations.md has the paper's.

Optimiser and learning rate stand in schedules/onecycle_80e.py.
"""

stages = dict(
    normal=dict(  # supervised on the labelled frames
        type='SupervisedStage',
        epochs=80,  # length of the stage
        repeat=10,  # times an epoch goes through the labelled frames; the paper says 5
    ),
    cpsp=dict(  # collaborative pseudo-scene pre-training, from the weights of `normal`
        type='CPSPStage',
        epochs=80,  # length of the stage
        repeat=20,  # times an epoch goes through the labelled frames
        pseudo_ratio=0.8,  # share of pseudo-scenes among the samples
        interval=10,  # epochs between two refreshes of the box bank
        false_positives=dict(Car=3, Pedestrian=3, Cyclist=3),  # likely false positives pasted per scene, without label
        annotated_share=None,  # of the objects pasted into a pseudo-scene; None: annotated and predicted ones alike
        bank=dict(
            profile='ours',  # the released rules with their defects fixed; or 'released', 'paper'
            k_first=30,  # k-means centres per class when the bank is built
            k_next=20,  # and when it is refreshed
            tau_low=0.2,  # predictions above it are cut out of backgrounds; at or below: likely false positives
        ),
    ),
    supervised=dict(  # final model, from random weights
        type='SupervisedStage',
        epochs=80,  # length of the stage
        repeat=5,  # times an epoch goes through the labelled frames
    ),
    final_cpsp=dict(  # final model, semi-supervised
        type='CPSPStage',
        epochs=80,  # length of the stage
        repeat=10,  # times an epoch goes through the labelled frames
        pseudo_ratio=0.8,  # share of pseudo-scenes among the samples
        interval=10,  # epochs between two refreshes of the box bank
        annotated_share=None,  # as for cpsp
        bank=dict(profile='ours', k_first=30, k_next=20, tau_low=0.15),  # as for cpsp
    ),
    loss_net=dict(  # learning loss (LLAL): the detector stays, a small net learns to predict its loss
        type='LossNetStage',
        epochs=10,  # length of the stage
        lr=0.001,  # of Adam, constant
    ),
    threedioumatch=dict(  # teacher and student; pseudo labels that pass two thresholds
        type='TeacherStudentStage',
        epochs=60,  # length of the stage
        repeat=5,  # times an epoch goes through the labelled frames
        method=dict(
            type='IoUMatch3D',
            t_iou=dict(Car=0.5, Pedestrian=0.25, Cyclist=0.25),  # score above which a box may be a pseudo label
            t_sem=0.4,  # and RPN score, for all classes
            empty_pseudo='skip',  # frames without pseudo label; 'all_background': everything in them is background
            teacher_mode='train',  # batch statistics of the frame, as the authors found necessary; or 'eval'
            unlabelled_weight=1.0,  # of the losses of unlabelled frames
        ),
        ema=dict(kind='warm'),  # the teacher keeps 1 - 1 / (t + 1), at most 0.999
        include_labelled=True,  # labelled frames also come as unlabelled ones, as released
    ),
    joint3d=dict(  # Joint3D-style: refined boxes must agree with the teacher's
        type='TeacherStudentStage',
        epochs=80,  # length of the stage
        repeat=10,  # times an epoch goes through the labelled frames
        method=dict(
            type='ConsistencySSL3D',
            t_score=dict(Car=0.8, Pedestrian=0.6, Cyclist=0.6),  # score above which a teacher's box counts
            min_iou=0.1,  # BEV IoU from which two boxes of a class are a pair
            score_weight=1.0,  # of the divergence of the pairs' scores
            ramp=0.2,  # share of the run in which the weight rises from 0
            teacher_mode='eval',  # running statistics; 'train': batch statistics of the frame
            unlabelled_weight=1.0,  # of the losses of unlabelled frames
        ),
        ema=dict(  # 0.5 to 0.9996, batch statistics too
            kind='ramp',
            steps=2000,  # length of the rise, as HSSDA released it
            share=0.2,  # of the run at most; a shorter rise ends at a lower rate. None: `steps` in a run of any length
        ),
    ),
    nal=dict(  # "Not All Labels Are Equal" in 3D: confident boxes become labels once, mirrored views must agree
        type='AutoLabelStage',
        epochs=80,  # length of the stage
        repeat=10,  # times an epoch goes through the labelled frames
        tau=0.9,  # lowest score of an automatic label; number or dict by class
        min_points=5,  # points that it must hold
        method=dict(
            type='NAL3D',
            threshold=0.3,  # class probability of an anchor from which mirrored views must agree
            unlabelled_weight=1.0,  # of the losses of unlabelled frames
        ),
        include_labelled=False,  # True: labelled frames also come as unlabelled ones
    ),
    hssda=dict(  # pseudo labels of three levels, patches that change places
        type='HSSDAStage',
        epochs=80,  # length of the stage
        repeat=1,  # times an epoch goes through all frames, labelled or not
        # Small batches ruin HSSDA: the article took 60 frames, the README 12; 4 gained nothing over the model before.
        options=dict(
            train_dataloader=dict(batch_size=12),  # frames that are computed at once, over all processes
            optim_wrapper=dict(accumulative_counts=1),  # such batches in a step; 12 = 4 x 3 takes a third of the memory
        ),
        min_batch=8,  # frames of a step, fewer are refused; lower it for trials only
        lr_batch=60,  # of the learning rate in `schedule`, scaled by the root of frames / 60; None: not scaled
        method=dict(
            type='HSSDA',
            # Temporary labels with less weight. 'online': the teacher predicts twice in every step (released);
            # 'from_last_mining': as the last mining found them, no prediction; 'none': mined labels only.
            mid_level='online',
            # Remove points in boxes that the teacher proposes and that are not labels. The teacher predicts once in
            # every step for this, unless mid_level='online' predicts anyway. Without both, a step needs no teacher.
            low_level=True,
            no_mid=['Pedestrian'],  # classes without labels for one step, as released
            shuffle=True,  # patches of unlabelled frames change places in the 3D backbone
            second_view=dict(  # of the teacher, always mirrored
                rotation=[-0.78539816, 0.78539816],  # rad
                scale=[0.91, 1.12],  # factor, drawn from this range
            ),
            augmentation=dict(  # of unlabelled frames for the student
                flip_x=0.5,  # probability of y -> -y
                rotation=[-0.78539816, 0.78539816],  # rad
                scale=[0.95, 1.05],  # factor, drawn from this range
            ),
            unlabelled_weight=1.0,  # of an unlabelled frame, relative to a labelled one
        ),
        mining=dict(  # of permanent labels
            interval=5,  # epochs between two minings
            pool='all',  # thresholds from frames with any boxes, as released; or 'labelled_only'
            defaults=dict(s=[0.99, 0.99], r=[0.95, 0.95], view_iou=[0.93, 0.93]),  # (high, low) with too few samples
            truncate=False,  # thresholds to two decimals: round, or cut off as released
            one_to_one=True,  # a box has at most one partner on the other view; released: all that overlap
            min_points=6,  # points that a label must hold
            paste_mined=True,  # mined objects are pasted like bought ones, as released
        ),
        paste_unlabelled=True,  # paste objects into unlabelled frames, too, as released
        ema=dict(  # 0.5 to 0.9996, batch statistics too
            kind='ramp',
            steps=2000,  # length of the rise, as HSSDA released it
            share=0.2,  # of the run at most; a shorter rise ends at a lower rate. None: `steps` in a run of any length
        ),
    ),
)
