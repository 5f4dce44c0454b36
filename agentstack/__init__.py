"""The program: settings, command line, logging, and the one place where all parts are put together."""

__version__ = "0.1.0"
