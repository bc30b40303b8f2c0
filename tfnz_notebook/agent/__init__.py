"""The agent: one asyncio process per user and engine endpoint, which outlives kernels.

``server``      the ZeroMQ socket: clients, requests, events
``sessions``    who owns containers, and when they are collected
``containers``  from spec to running guest to gone
``guests``      the connection to one guest: channels, requests, reconnection
``processes``   a process: its logs, stdin, questions and end
``logs``        append-only streams: memory, then spool files, then back-pressure
``readers``     what streams to kernels, within their credit
``files`` ``dials``  uploads, downloads and connections into a container
``former``      what agents of 0.1 left under other names
``keys``        CURVE keys for agents on other machines
"""
