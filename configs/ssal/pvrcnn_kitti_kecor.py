"""S-SSAL with KECOR instead of CAL."""

_base_ = './pvrcnn_kitti.py'
active_sampler = dict(_delete_=True, type='KECORSampler')
