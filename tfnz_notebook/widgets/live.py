"""One view in a page: a widget of small state that says where everything else is."""

from __future__ import annotations

from typing import Any, Final

import anywidget
import ipywidgets
import traitlets

from tfnz_notebook.widgets.bundle import bundle
from tfnz_notebook.widgets.channel.hub import hub

#: Every view's module. The code of its kind is imported once a page, and kept with the model that
#: brought it, as is the hub's, which looks after what a save of the page writes
#: (``_frontend/src/page.ts``); a page in which that fails says so instead of staying empty.
STUB: Final = """
const find = (model, name) => model.widget_manager.get_model(model.get(name).slice(10));
async function load(bundle) {
  const url = URL.createObjectURL(new Blob([bundle.get("code")], { type: "text/javascript" }));
  try { return await import(url); } finally { URL.revokeObjectURL(url); }
}
async function found(model, name) {
  const bundle = await find(model, name);
  return [await (bundle.tfnz ??= load(bundle)), bundle];
}
async function initialize({ model, signal }) {
  try {
    const [page, hub] = await found(model, "hub");
    page.keeper(hub).keep(model, signal);
  } catch { /* its views say so */ }
}
async function render(props) {
  const { model, el, signal } = props;
  el.classList.add("tfnz-live");
  try {
    const [[page, hub], [view]] = await Promise.all([found(model, "hub"), found(model, "bundle")]);
    const seen = (view) => page.keeper(hub).seen(model, view, signal);
    return await view.render({ ...props, hub, seen });
  } catch (error) {
    el.textContent = `Cannot show this view: ${error?.message ?? error}. Run the cell again.`;
  }
}
export default { initialize, render };
"""

_layout: ipywidgets.Layout | None = None


def _shared_layout() -> ipywidgets.Layout:
    """One for all: each would be a comm of its own."""
    global _layout
    if _layout is None or _layout.comm is None:
        _layout = ipywidgets.Layout(width="auto")
    return _layout


class Live(anywidget.AnyWidget):
    """A view of ``subject``, drawn by the bundle of ``kind``."""

    _esm = STUB
    hub = traitlets.Unicode().tag(sync=True)
    bundle = traitlets.Unicode().tag(sync=True)
    kind = traitlets.Unicode().tag(sync=True)
    subject = traitlets.Unicode().tag(sync=True)
    options = traitlets.Dict().tag(sync=True)
    #: How to reach the process without this kernel: agent, process, ticket.
    direct = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    #: What stays of it, for pages that know no display's id: see ``_frontend/src/page.ts``.
    still = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)

    def __init__(
        self,
        kind: str,
        subject: str,
        options: dict[str, Any] | None = None,
        direct: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            hub=f"IPY_MODEL_{hub().model_id}",
            bundle=f"IPY_MODEL_{bundle(kind).model_id}",
            kind=kind,
            subject=subject,
            options=options or {},
            direct=direct,
            layout=_shared_layout(),
        )

    def tell(self, still: dict[str, Any]) -> None:
        """Have pages know what stays of it. Nothing happens once the kernel is shutting down."""
        try:
            self.still = still
        except Exception:  # the socket is gone, whatever that raises
            self.log.debug("A view was not told what stays of it.", exc_info=True)
