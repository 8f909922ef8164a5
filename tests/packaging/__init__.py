"""What is shipped: archives built and tried out as strangers get them, and what comes with them.

``python -m tests.packaging`` builds and tries; ``python -m tests.packaging.sbom`` lists.
"""
