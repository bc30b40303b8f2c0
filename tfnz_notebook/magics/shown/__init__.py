"""How what a magic made is shown: as views, as text, on a terminal of one's own."""
