"""CoreSet on KITTI."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='CoreSetSampler',
    init='min',  # distance to the nearest labelled frame; 'mean': root mean square of all of them (released code)
    pool='flatten',  # features of all RoIs in a row; 'mean' of the existing ones: shorter, and their order does not matter
)
