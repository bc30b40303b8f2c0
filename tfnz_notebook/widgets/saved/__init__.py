"""What stays of a view in a notebook that is saved."""
