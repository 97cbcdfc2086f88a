"""Every defect of the upstream stack that we must work around, each in one place, and kernels that we prefer.

`FIXES` mend defects and are put in place when anything of ours is used. `PREFERENCES` replace what works but is slow;
only our commands ask for them. Layers that we prefer belong to a model: see `ssal3d.models.fast_layers`.

>>> from ssal3d import compat
>>> compat.apply_all()
>>> compat.states()['numpy-long'] in ('applied', 'needed', 'not needed')
True
"""

from ssal3d.compat import (
    allocator,
    environment_fixes,
    mmcv_fixes,
    mmdet3d_fixes,
    mmengine_checkpoint_fixes,
    mmengine_training_fixes,
    spconv_fixes,
)
from ssal3d.compat.fix import Fix, installed

__all__ = ['FIXES', 'PREFERENCES', 'Fix', 'apply_all', 'apply_preferences', 'states']

FIXES: tuple[Fix, ...] = (
    *environment_fixes.FIXES,
    *mmengine_checkpoint_fixes.FIXES,
    *mmengine_training_fixes.FIXES,
    *mmcv_fixes.FIXES,
    *spconv_fixes.FIXES,
    *mmdet3d_fixes.FIXES,
)
PREFERENCES: tuple[Fix, ...] = (*mmcv_fixes.PREFERENCES, *mmdet3d_fixes.PREFERENCES, *allocator.PREFERENCES)
_applied: set[str] = set()


def apply_all() -> None:
    """Put every fix in place that the installed packages still need; further calls do nothing."""
    _apply(FIXES)


def apply_preferences() -> None:
    """Put our faster kernels in place, after all fixes; further calls do nothing."""
    _apply((*FIXES, *PREFERENCES))


def _apply(fixes: tuple[Fix, ...]) -> None:
    for fix in fixes:
        if fix.name not in _applied and _is_needed(fix):
            fix.apply()
            _applied.add(fix.name)


def states() -> dict[str, str]:
    """Return ``'applied'``, ``'needed'`` or ``'not needed'`` by name, first the fixes, then the preferences."""
    return {
        fix.name: 'applied' if fix.name in _applied else 'needed' if _is_needed(fix) else 'not needed'
        for fix in (*FIXES, *PREFERENCES)
    }


def _is_needed(fix: Fix) -> bool:
    return all(map(installed, fix.needs)) and fix.is_needed()
