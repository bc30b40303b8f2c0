"""The flags of ``docker run``: what each is here, what its value means, and the line they make."""
