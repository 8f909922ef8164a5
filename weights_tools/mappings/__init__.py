"""Foreign parameter names and layouts -> ours."""
