"""The log of a process of ours: what it looks like and where it goes."""

import json
import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import Processor

from runabout.control.context import merge_names
from runabout.control.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Send every line, also those of libraries, to standard output as one JSON object (or as text for people)."""
    level = getattr(logging, settings.log_level.upper())
    shared: list[Processor] = [
        merge_names,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    as_json = structlog.processors.JSONRenderer(serializer=_line)
    renderer = as_json if settings.log_format == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def _line(event: object, **options: Any) -> str:  # noqa: ANN401 - those of json.dumps
    try:
        return orjson.dumps(event, default=options["default"]).decode()
    except orjson.JSONEncodeError:  # numbers beyond 64 bits, half characters, keys that are no text
        return json.dumps(event, **options)
