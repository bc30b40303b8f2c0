"""The %tf magics in every new kernel, loaded at their first use. TFNZ_AUTOLOAD=0 switches it off.

From the package tfnz-notebook, which see: tfnz_notebook/magics/autoload.py.
"""


def _tfnz_notebook_autoload():
    import sys

    try:
        from IPython import get_ipython

        from tfnz_notebook.magics import autoload

        autoload.install(get_ipython())
    except ModuleNotFoundError as error:
        # /usr/local/etc is read by every Python of a machine; it is installed in one of them.
        if not (error.name or "").startswith("tfnz_notebook"):
            sys.stderr.write(f"tfnz_notebook: not loaded: {error!r}\n")
    except Exception as error:  # noqa: BLE001  # whatever it is, the kernel must start
        sys.stderr.write(f"tfnz_notebook: not loaded: {error!r}\n")


# This runs in the user's namespace, where nothing of it may stay.
_tfnz_notebook_autoload()
del _tfnz_notebook_autoload
