"""What an agent says of containers and processes, and some of it hostile."""

from typing import Any

#: Markup, a terminal's escapes, the clipboard, a right-to-left override, a line's end.
EVIL = "<script>alert(1)</script>\x1b[31m\x1b]52;c;AAAA\x07\u202ex\n\x9b0m"


def process(container: str, ident: str, **more: Any) -> dict[str, Any]:
    told = {"process": ident, "container": container, "text": "vmstat 1", "pid": 12, "tty": False}
    told |= {"started": 5.0, "returncode": None, "out": 0, "err": 0, "ended": False}
    return {**told, "timed_out": False, "oom": False, **more}


def container(ident: str = "c" * 32, **more: Any) -> dict[str, Any]:
    told = {"container": ident, "state": "running", "image": "nginx", "name": "", "tag": "web"}
    told |= {"node": "first", "session": "s", "created": 1000.0, "ip": "10.0.0.2"}
    told |= {"sleep": False, "text": "", "done": 0, "total": 0, "returncode": None}
    return {**told, "error": None, "log": b"", "out": 0, "err": 0, **more}
