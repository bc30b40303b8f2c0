"""A simulated world: the real agent and the real links of some kernels, in one process, by a seed.

Each node (a kernel, a page, the agent, the engine, each guest) has a loop of its own, with its own
first-in-first-out queue; all share one virtual clock. The seed decides which node goes on next, how
what is sent is cut and delayed, which timer fires first, what fails, and who is killed, stopped or
mute. Guests, engine, disk and network are models; agent and link are the product's own.

``nodes`` is the clock and who runs; ``network``, ``disk`` and ``engine`` are what is handed to the
product; ``scene`` puts them together. ``script`` draws what is done from the seed, ``acts`` does
it, ``play`` plays all of it, ``laws`` are what must hold. ``python -m tests.simulation SEED`` plays
one again; see ``__main__``.
"""
