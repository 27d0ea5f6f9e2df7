"""The blocktree file server daemon: serves the store to end-to-end clients and files to thin ones."""

from importlib.metadata import version

from ._configuration import Configuration, load_configuration
from ._host import Host, unlock
from ._serving import Served, serving
from ._settings import Settings
from .errors import ConfigurationError

__version__ = version("btfsd")

__all__ = [
    "Configuration",
    "ConfigurationError",
    "Host",
    "Served",
    "Settings",
    "__version__",
    "load_configuration",
    "serving",
    "unlock",
]
