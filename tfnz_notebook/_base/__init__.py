"""What both halves stand on, each written once.

``paths``        where runtime, state and configuration files lie
``endpoints``    which engine and endpoint a name means, and its agent's name
``running``      who runs as an agent: records, locks, ends
``proc``         processes of this machine, and what is free on it
``system``       which system this is, and how an engine is installed on it
``versions``     packages' versions in their order
``numbers``      as people read them
``text``         for people: lines, columns, tables, quoting
``escapes``      the grammar of escape sequences
``names``        images and signals, and their grammar
``descriptors``  waiting for them
"""
