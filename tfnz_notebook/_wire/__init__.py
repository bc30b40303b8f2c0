"""Both protocols as pure code: bytes to events and back. No sockets, no clock, no threads.

``guest``  frames between the agent and the guest in a container (C's other half)
``link``   messages between a kernel and its agent
PROTOCOL.md beside this file says who may say what, when.
"""
