"""``python -m tfnz_notebook doctor`` and ``clean``: what is here, and how to be rid of it.

``findings``    what was found, as text and as JSON
``look``        every check, each with a deadline; the report
``packages``    Python, the kernel, front-ends, the start-up file, the server's extension
``engine``      Podman and Docker, asked directly; nothing is started that stays
``agents``      agents that run, asked with a hello
``holdings``    what engines hold for this user, by the owner label
``clean``       the end of all that, and of the files

The doctor joins both sides, as tests do, which is why nobody may import it.
"""
