"""An engine in memory: the same contract without a kernel, for unit tests."""
