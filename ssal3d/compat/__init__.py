"""Every defect of the upstream stack that we must work around, each in one place.

>>> from ssal3d import compat
>>> compat.apply_all()
>>> compat.states()['numpy-long'] in ('applied', 'needed', 'not needed')
True
"""

from ssal3d.compat import (
    config_text,
    environment_fixes,
    mmcv_fixes,
    mmdet3d_fixes,
    mmdet3d_speed_fixes,
    mmengine_checkpoint_fixes,
    mmengine_training_fixes,
    spconv_fixes,
)
from ssal3d.compat.fix import Fix, installed

__all__ = ['FIXES', 'Fix', 'apply_all', 'states']

FIXES: tuple[Fix, ...] = (
    *environment_fixes.FIXES,
    *mmengine_checkpoint_fixes.FIXES,
    *mmengine_training_fixes.FIXES,
    *config_text.FIXES,
    *mmcv_fixes.FIXES,
    *spconv_fixes.FIXES,
    *mmdet3d_fixes.FIXES,
    *mmdet3d_speed_fixes.FIXES,
)
_applied: set[str] = set()


def apply_all() -> None:
    """Put every fix in place that the installed packages still need; further calls do nothing."""
    for fix in FIXES:
        if fix.name not in _applied and _is_needed(fix):
            fix.apply()
            _applied.add(fix.name)


def states() -> dict[str, str]:
    """Return ``'applied'``, ``'needed'`` or ``'not needed'`` by the name of the fix, in the order of `FIXES`."""
    return {
        fix.name: 'applied' if fix.name in _applied else 'needed' if _is_needed(fix) else 'not needed' for fix in FIXES
    }


def _is_needed(fix: Fix) -> bool:
    return all(map(installed, fix.needs)) and fix.is_needed()
