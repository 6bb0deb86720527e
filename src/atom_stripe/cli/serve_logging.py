"""What the service writes to stderr: one JSON object a line, for machines, or one line of text, for people."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: Any) -> Any:
        """Return *method*: the mark is for type checkers."""
        return method


LogFormat = Literal["json", "text"]
_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON: when, how bad, who says it, what, and the fields that came with it."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


def settings(form: LogFormat, level: str) -> dict[str, Any]:
    """Return the settings of ``logging.config.dictConfig``, which uvicorn hands to each of its processes."""
    formatter: dict[str, Any] = (
        {"()": f"{__name__}.JsonFormatter"} if form == "json" else {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            # At INFO they write whole URLs, and so what stands in queries.
            **{name: {"level": "WARNING"} for name in ("httpx", "httpcore")},
            # It tells the same with every look at the tables.
            "alembic": {"level": "WARNING"},
            "uvicorn": {"handlers": [], "propagate": True},
        },
    }
