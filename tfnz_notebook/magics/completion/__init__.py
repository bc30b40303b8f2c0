"""What Tab offers in a magic's line."""
