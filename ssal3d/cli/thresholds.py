"""IoU thresholds on the command line."""

from ssal3d.errors import UserError


def parse_thresholds(settings: list[str]) -> dict[str, float]:
    """Parse ``NAME=IOU``.

    Raises:
        UserError: If a setting is malformed.

    >>> parse_thresholds(['Car=0.5', 'Cyclist=0.4'])
    {'Car': 0.5, 'Cyclist': 0.4}
    """
    result = {}
    for setting in settings:
        name, _, value = setting.partition('=')
        try:
            result[name] = float(value)
        except ValueError:
            raise UserError(f"--iou: found '{setting}', expected NAME=IOU, e.g. Car=0.5") from None
    return result
