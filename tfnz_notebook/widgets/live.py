"""One view in a page: a widget of small state that says where everything else is."""

from __future__ import annotations

from typing import Any, Final

import anywidget
import ipywidgets
import traitlets

from tfnz_notebook.widgets.bundle import bundle
from tfnz_notebook.widgets.channel.hub import hub

#: Every view's module. The code of its kind is imported once a page, and kept with the model that
#: brought it; a page in which that fails says so instead of staying empty.
#:
#: The kernel replaces a picture's two outputs by their display ids, which a page that was loaded
#: since does not know. JupyterLab and Notebook then let us do that in their model of the notebook;
#: elsewhere, and where it is done already, there is nothing to do.
STUB: Final = """
const find = (model, name) => model.widget_manager.get_model(model.get(name).slice(10));
async function load(bundle) {
  const url = URL.createObjectURL(new Blob([bundle.get("code")], { type: "text/javascript" }));
  try { return await import(url); } finally { URL.revokeObjectURL(url); }
}
function replace(cells, { key, model, data, twin }) {
  for (const { outputs } of cells ?? []) for (let i = 0; i < (outputs?.length ?? 0); i++) {
    const had = outputs.get(i).toJSON().data ?? {};
    const html = [had["text/html"]].flat().join("");
    const view = had["application/vnd.jupyter.widget-view+json"]?.model_id === model && data;
    const still = html.includes(`tfnz-static-${key}"`) && html !== twin["text/html"] && twin;
    const now = view || still;
    if (now) outputs.set(i, { output_type: "display_data", metadata: {}, data: now });
  }
}
async function render(props) {
  const { model, el, signal } = props;
  el.classList.add("tfnz-live");
  try {
    const [hub, bundle] = await Promise.all([find(model, "hub"), find(model, "bundle")]);
    const told = ({ still }) => still?.key === model.get("options").key && setTimeout(
      () => replace(hub.widget_manager?.context?.model?.cells, still), 500);
    hub.on("msg:custom", told);
    signal?.addEventListener("abort", () => hub.off("msg:custom", told));
    const view = await (bundle.tfnz ??= load(bundle));
    return await view.render({ ...props, hub });
  } catch (error) {
    el.textContent = `Cannot show this view: ${error?.message ?? error}. Run the cell again.`;
  }
}
export default { render };
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
