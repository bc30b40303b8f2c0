"""Examples that Python and TypeScript are both held to; ``_frontend/test`` reads the same files."""

import json
from pathlib import Path
from typing import Any, Final

#: Numbers, columns, quoting, axes, and output as styled text.
TEXT: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "text.json").read_text(encoding="utf-8")
)

#: What programs wrote into a terminal, and what is on its screen then.
SCREENS: Final[list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent / "screens.json").read_text(encoding="utf-8")
)

#: What stays of some rows; stills.py writes it.
STILLS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "stills.json").read_text(encoding="utf-8")
)
