"""The direct path: a Jupyter server extension that joins views to their processes past the kernel.

A view in a page opens the websocket ``<base_url>tfnz/views`` of the server the page came from, says
which process of which agent it shows, and proves with a ticket that a kernel let it. With that, a
terminal goes on while its kernel is busy, stuck in C, or dead. It is never required: without the
extension, or where the agent is not on the server's machine, the same messages go over the comm.

And it shows, in a sandbox, what a port of a container serves to browsers: ``<base_url>tfnz/port``.

``handler``   the websocket: who may open it, and its first message
``bridge``    what is behind it: a desk with one process, over a link to the agent
``proxy``     a container's pages; ``passages`` lets in to a port, ``rewriting`` says what passes

Enabled by ``etc/jupyter/jupyter_server_config.d/tfnz-notebook.json``. Only a Jupyter server imports
what is in here; the package does not depend on one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where the server finds what to load."""
    return [{"module": "tfnz_notebook.direct"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    """Add our websocket and containers' pages, and tell the server's own that they are there.

    One that is not told asks for none: the browser would log each as an error.
    """
    import re

    from jupyter_server.utils import url_path_join

    from tfnz_notebook.direct.handler import ViewsSocket
    from tfnz_notebook.direct.passages import Passages
    from tfnz_notebook.direct.proxy import PageHandler, PortHandler, WrittenHandler

    settings = server.web_app.settings
    settings.setdefault("page_config_data", {})["tfnzViews"] = "true"
    root = url_path_join(settings["base_url"], "tfnz")
    at = re.escape(root)  # a Hub's user may be called a+b@c
    passages = {"passages": Passages(f"{root}/page")}
    port = "/([a-z0-9_.-]+)/([0-9a-f]{32})/([0-9]{1,5})/([0-9a-f]{64})"
    handlers = [
        (f"{at}/views", ViewsSocket),
        (f"{at}/port{port}", PortHandler, passages),
        (f"{at}/written{port}", WrittenHandler, passages),
        (f"{at}/page/(?P<name>[A-Za-z0-9_-]{{43}})(?:/.*)?", PageHandler, passages),
    ]
    server.web_app.add_handlers(".*$", handlers)  # type: ignore[no-untyped-call]
