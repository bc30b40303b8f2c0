"""The magics and the views without ``%load_ext``: there in every new kernel, loaded at first use.

IPython runs ``etc/ipython/startup/50-tfnz-notebook.py`` of its environment, which the wheel puts
there, before a kernel (or a terminal's IPython) runs its first cell; that file calls
:func:`install`. Loading everything takes some 150 ms, and most kernels never need it. So there are
placeholders only, which cost a millisecond and import nothing: a function for each magic, a
matcher for Tab, and the displays of our objects by the names of their classes. Whichever is used
first, or a cell that speaks of us, loads the extension as ``%load_ext tfnz_notebook`` does.

``TFNZ_AUTOLOAD=0`` in the environment, or ``c.TfnzNotebook.autoload = False`` in IPython's
configuration, switches it off; ``%load_ext tfnz_notebook`` works then, and otherwise does no harm.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

#: What each magic is there as; a test compares it with :data:`registered.MAGICS`.
LINE: Final = (
    *("tf_spawn", "tf_run", "tf_shell", "tf_plot", "tf_ps", "tf_top", "tf_logs", "tf_attach"),
    *("tf_signal", "tf_stop", "tf_put", "tf_get", "tf_open", "tf_connect", "tf_why"),
    *("tf_build", "tf_images", "tf_volumes"),
)
CELL: Final = ("tf_spawn", "tf_run", "tf_python", "tf_bash", "tf_build")
#: Classes with views of their own, as (module, name).
SHOWN: Final = (
    ("tfnz_notebook.location", "Location"),
    ("tfnz_notebook.node", "Node"),
    ("tfnz_notebook.container", "Container"),
    ("tfnz_notebook.process", "Process"),
    ("tfnz_notebook.tunnel", "Tunnel"),
    ("tfnz_notebook.plots.model", "Plot"),
)
OFF: Final = ("0", "false", "no", "off")


def wanted(ip: Any) -> bool:
    """Whether nobody switched it off."""
    if os.environ.get("TFNZ_AUTOLOAD", "").strip().lower() in OFF:
        return False
    return bool(ip.config.get("TfnzNotebook", {}).get("autoload", True))


def install(ip: Any) -> bool:
    """Put the placeholders into a shell; False where there is nothing to do.

    That is where it is switched off, or the extension loaded already, by a configuration file.
    """
    if not wanted(ip) or LINE[0] in ip.magics_manager.magics["line"]:
        return False
    Sleeping(ip)
    return True


class Sleeping:
    """The placeholders of one shell, until they are used."""

    def __init__(self, ip: Any) -> None:
        self._ip = ip
        for kind, names in (("line", LINE), ("cell", CELL)):
            for name in names:
                ip.register_magic_function(Stub(self, kind, name), kind, name)
        ip.events.register("pre_run_cell", self._before_cell)
        from IPython.core import completer  # the shell has loaded it

        def tfnz_asleep(context: Any) -> Any:
            return self._complete(context)

        self._matcher = completer.completion_matcher(api_version=2)(tfnz_asleep)
        ip.Completer.custom_matchers.append(self._matcher)
        if getattr(ip, "kernel", None) is not None:
            formatter = ip.display_formatter.ipython_display_formatter
            for module, name in SHOWN:
                formatter.for_type_by_name(module, name, self._display)

    def wake(self) -> None:
        """Load what we stand for, and go."""
        self.leave()
        import tfnz_notebook

        # Not through the extension manager: a %load_ext of the user's would then be told that it
        # is loaded already, at length.
        tfnz_notebook.load_ipython_extension(self._ip)

    def leave(self) -> None:
        """Take the placeholders away, but for what somebody put in their place."""
        ip = self._ip
        if self._before_cell in ip.events.callbacks["pre_run_cell"]:
            ip.events.unregister("pre_run_cell", self._before_cell)
        if self._matcher in ip.Completer.custom_matchers:
            ip.Completer.custom_matchers.remove(self._matcher)
        for held in ip.magics_manager.magics.values():
            for name in [name for name, found in held.items() if isinstance(found, Stub)]:
                del held[name]
        if getattr(ip, "kernel", None) is not None:
            deferred = ip.display_formatter.ipython_display_formatter.deferred_printers
            for key in SHOWN:
                if deferred.get(key) == self._display:
                    del deferred[key]

    # -- what wakes us

    def _before_cell(self, info: Any) -> None:
        # By its text, so that it is there from the beginning; or because something that an earlier
        # cell called imported us.
        if _speaks_of_us(info.raw_cell or "") or "tfnz_notebook.location" in sys.modules:
            self.wake()
            from tfnz_notebook.widgets import cells

            cells.begun(info)  # nobody of ours had heard of it

    def _complete(self, context: Any) -> Any:
        if not any(f"{name} " in context.text_until_cursor for name in LINE):
            return {"completions": []}
        self.wake()
        return self._ip.Completer.custom_matchers[-1](context)  # the one that knows

    def _display(self, thing: Any) -> None:
        self.wake()
        from tfnz_notebook.widgets.register import display

        display(thing)


def _speaks_of_us(text: str) -> bool:
    return "tfnz" in text or any(name in text for name in LINE)


class Stub:
    """Stands for one magic; its documentation is the real one's."""

    def __init__(self, sleeping: Sleeping, kind: str, name: str) -> None:
        self._sleeping = sleeping
        self._kind = kind
        self.__name__ = name

    def _real(self) -> Any:
        self._sleeping.wake()
        return self._sleeping._ip.magics_manager.magics[self._kind][self.__name__]

    def __call__(self, *arguments: Any) -> Any:
        """Run the magic that it stands for."""
        return self._real()(*arguments)

    def __getattribute__(self, name: str) -> Any:
        if name == "__doc__":  # asked for by a tool tip: %tf_run and Shift-Tab
            return self._real().__doc__
        return super().__getattribute__(name)
