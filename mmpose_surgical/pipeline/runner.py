"""MMEngine's Runner with a terminal that one can read."""
import logging
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner

import mmpose_surgical.plugin  # noqa: F401  (registers everything)


def _is_news(record: logging.LogRecord) -> bool:
    """Progress and warnings; the pages on environment, config and hooks stay in the log file."""
    message = record.getMessage()
    return record.levelno > logging.INFO or ('\n' not in message and message.startswith(('Epoch', 'Saving', 'resumed')))


class BriefRunner(Runner):
    """A Runner whose log file is complete and whose terminal shows progress only."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The logger, with a filter on what it prints."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(_is_news)
        return logger
