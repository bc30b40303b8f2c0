"""Image registries: the logins that a user has there, and what they say of an image."""
