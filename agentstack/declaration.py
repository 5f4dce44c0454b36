"""Where the backends are declared, and where their images are built from."""

from pathlib import Path

from agentstack.settings import Settings
from domain.backends.registry import Backends, BackendsFileError, parse_backends

_ROOT = Path(__file__).resolve().parent.parent
SEEDS, IMAGES = _ROOT / "seeds", _ROOT / "images"


def backends_path(settings: Settings) -> Path:
    """Return the file in which the backends are declared."""
    return settings.backends_config_path or SEEDS / "backends.json"


def build_folders(settings: Settings) -> tuple[Path, ...]:
    """Return where the Dockerfiles of agents are: beside the admin's own declaration, then ours."""
    return (backends_path(settings).absolute().parent / "images", IMAGES)


def load_backends(settings: Settings) -> Backends:
    """Read the declared backends. Raises BackendsFileError."""
    return read_backends(backends_path(settings))


def read_backends(path: Path) -> Backends:
    """Read a backends file. Raises BackendsFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BackendsFileError(f"{path}: cannot be read: {error}. Check BACKENDS_CONFIG_PATH.") from None
    return parse_backends(text, str(path))
