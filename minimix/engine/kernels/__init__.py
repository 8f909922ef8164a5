"""The compiled engine's kernels; files mirror ``minimix.ops`` by name."""
