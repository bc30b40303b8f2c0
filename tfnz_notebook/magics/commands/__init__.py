"""The magics themselves: a parser and one call of the object model each."""
