"""The kernel side of the link: one I/O thread, and what the object model asks of it.

``thread``    the I/O thread, the only place where threads and loops are crossed
``dispatch``  users' callbacks, back on the loop or thread that they belong to
``portal``    one coroutine, two faces: blocking and awaitable
``starter``   finding an agent, or starting one; ``viewing`` without that, ``keys`` elsewhere
``dealer``    a ZeroMQ socket on the I/O loop
``link``      requests, events, heartbeats, mending; ``ends`` what it joins, ``faults`` its errors,
              ``hello`` its first words, ``listeners`` who hears of containers and processes
``reader``    streams with credit; ``follow`` callbacks, ``pieces`` iteration over them
``dial``      connections into containers; ``tunnels`` listeners that lead to them
``arguments`` what may be passed, checked before anything is sent; ``spec`` a container's
``changes``   waiting for a state; ``echo`` what a terminal's reply has too much
"""
