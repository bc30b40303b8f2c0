"""Requests that take long: what they say meanwhile, and what is sent to them."""
