"""What a location has beside containers, one concern a file."""
