"""Files of a container on their way, over its guest's connection or past it."""
