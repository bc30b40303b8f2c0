"""What the ``docker`` command of this user is told."""
