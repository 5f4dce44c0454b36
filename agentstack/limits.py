"""What each user may take for good, by the settings."""

from agentstack.settings import Settings
from supervisors.allowance import Limits


def limits_of(settings: Settings) -> Limits:
    """Return it, in bytes and without the zeros that stand for no limit."""
    return Limits(
        log_per_day=settings.log_mib_per_day << 20 or None,
        conversations=settings.conversations_per_user or None,
        files=settings.files_mib_per_user << 20 or None,
    )
