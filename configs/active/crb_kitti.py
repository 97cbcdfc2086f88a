"""CRB on KITTI with the settings of its released code."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='CRBSampler',
    # which frames are candidates; n is the number of frames that the budget is expected to buy
    k1=5,  # keep k1 n frames with the most diverse labels (the paper's appendix says 3)
    label_entropy='crb_code',  # how counts make a distribution; 'crb_paper': softmax of shares; 'shannon': shares
    # which of them are prototypes
    k2=3,  # keep k2 n frames with different gradients (the paper's appendix says 2)
    prototype='kmeans++',  # picks of its seeding; 'kmeans', 'gmm', 'birch': frames next to the cluster centres
    passes=5,  # Monte-Carlo passes whose mean is the target of the gradient, when predicting the pool
    # which prototypes have evenly spread point densities
    bandwidth=5,  # of the Gaussian kernels, in points per m^3
    alpha=0.95,  # the spread ends at the quantiles 1 - alpha and alpha of all predictions
)
