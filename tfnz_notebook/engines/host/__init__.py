"""No engine: the guest as a plain process of this machine."""
