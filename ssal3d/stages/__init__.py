"""Training stages: each turns the experiment's config into the config of one ordinary mmengine run."""
