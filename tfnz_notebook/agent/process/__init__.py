"""A process: its log and who reads it, its stdin, its questions, its end."""
