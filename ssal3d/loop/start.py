"""Beginning with a detector that was trained elsewhere, instead of random weights or of the first training."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import init_default_scope

from ssal3d.data.determinism import seeded_globals
from ssal3d.errors import UserError, unknown_name
from ssal3d.models.foreign import load_foreign
from ssal3d.models.loading import write_weights
from ssal3d.terminal import print_table

USES = ('weights', 'model')


@dataclass(frozen=True)
class StartFrom:
    """A checkpoint to begin with.

    Attributes:
        checkpoint: The file: one of ours, one of MMDetection3D's released ones, or a backbone alone.
        use: ``'weights'``: the first stage of every chain starts from them instead of random ones. ``'model'``:
            besides, it stands for the first stage of the first round, which is not trained; its predictions make the
            first query.
        keys: Beginnings of names in the checkpoint and what stands there in the model; None leaves weights out.
        partial: Let weights of the model find no counterpart; these are random.
    """

    checkpoint: str
    use: str = 'weights'
    keys: Mapping[str, str | None] = field(default_factory=dict)
    partial: bool = False

    @classmethod
    def of(cls, setting: str | Mapping[str, Any] | None) -> 'StartFrom | None':
        """Build from a config's ``start_from``: a path, or a dict of the attributes.

        Raises:
            UserError: If an option is unknown, the file is missing, or ``use`` is neither of its values.
        """
        if setting is None:
            return None
        options: dict[str, Any] = {'checkpoint': setting} if isinstance(setting, str) else dict(setting)
        known = [item.name for item in fields(cls)]
        for name in options:
            if name not in known:
                raise unknown_name('option of start_from', name, known)
        if not Path(options.get('checkpoint', '')).is_file():
            raise UserError(f'start_from: {options.get("checkpoint")!r} is not a file; give the path of a checkpoint')
        start = cls(**options)
        if start.use not in USES:
            raise unknown_name('start_from.use', start.use, list(USES))
        return start


def prepare_start(config: Config, start: StartFrom, path: Path) -> None:
    """Write the weights as a checkpoint of the experiment's detector, on rank 0, and print which belong where.

    Args:
        config: The experiment's config.
        start: What to begin with.
        path: Where to.

    Raises:
        UserError: If they do not fit.
    """
    if not is_main_process():
        return
    init_default_scope(config.get('default_scope', 'mmdet3d'))
    with seeded_globals(config.randomness.seed, 0):
        model = MODELS.build(config.model)
        model.init_weights()
    rows = load_foreign(model, start.checkpoint, start.keys, start.partial)
    print_table(f'weights of {start.checkpoint}', ('there', 'here', 'tensors'), rows)
    write_weights(path, model.state_dict(), start_from=str(start.checkpoint))
