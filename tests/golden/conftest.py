"""Keep pytest away from the makers: they import other frameworks."""

collect_ignore_glob = ["make_*.py"]
