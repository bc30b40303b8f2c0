"""The views of a notebook: what a page shows of processes, containers and plots.

``hub``       one comm a kernel for all views; ``outbox`` what waits for it
``bundle``    the views' JavaScript, sent once a kernel; ``live`` one view in a page
``display``   a live view, and beside it what stays in the notebook; ``publish`` how it gets there
``frozen``    output as safe text and HTML; ``ansi`` its colours, ``screen`` a terminal's
``status``    how a process is, in words
``output``    the picture of a process; ``shell`` of a terminal, ``plot``, ``explorer`` of the rest
``register``  how objects show themselves

Nothing here is imported until a notebook shows something.
"""
