"""S-SSAL with CoreSet instead of CAL."""

_base_ = './pvrcnn_kitti.py'
active_sampler = dict(_delete_=True, type='CoreSetSampler')
