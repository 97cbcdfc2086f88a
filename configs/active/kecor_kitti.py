"""KECOR on KITTI with the settings of its released code."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='KECORSampler',
    # what describes a frame: gradients of a proxy network that learns the training targets of the labelled frames
    kernel='ntk',  # gradients of all of its layers; 'last_layer': of the last one; 'linear': RoI features, no proxy
    latent=512,  # width of the proxy's first hidden layer and dimensions of the description
    proxy_steps=10,  # training steps of the proxy
    proxy_lr=2e-2,  # its learning rate
    # how different frames are bought
    train_sigma=0.1,  # noise of labelled frames; the lower, the less remains of what they explain
    sigma=0.1,  # noise of the frames to buy; the lower, the less a frame counts that resembles a bought one
    # how diverse their predicted labels are
    entropy_weight=0.1,  # weight lambda of the label entropy; 0: none
    label_entropy='crb_code',  # how counts make a distribution; 'crb_paper': softmax of shares; 'shannon': shares
)
