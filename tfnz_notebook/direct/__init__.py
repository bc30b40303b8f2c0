"""The direct path: a Jupyter server extension that joins views to their processes past the kernel.

A view in a page opens the websocket ``<base_url>tfnz/views`` of the server the page came from, says
which process of which agent it shows, and proves with a ticket that a kernel let it. With that, a
terminal goes on while its kernel is busy, stuck in C, or dead. It is never required: without the
extension, or where the agent is not on the server's machine, the same messages go over the comm.

``handler``  the websocket: who may open it, and its first message
``bridge``   what is behind it: a desk with one process, over a link to the agent

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
    """Add our websocket to the server's handlers, and tell its pages that it is there.

    One that is not told asks for none: the browser would log each as an error.
    """
    from jupyter_server.utils import url_path_join

    from tfnz_notebook.direct.handler import ViewsSocket

    settings = server.web_app.settings
    settings.setdefault("page_config_data", {})["tfnzViews"] = "true"
    url = url_path_join(settings["base_url"], "tfnz/views")
    server.web_app.add_handlers(".*$", [(url, ViewsSocket)])  # type: ignore[no-untyped-call]
