"""HTTP over h11, for every engine that has an API."""
