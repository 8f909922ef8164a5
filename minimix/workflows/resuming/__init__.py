"""Work over many pictures that goes on where it was cut.

``rows``      what is computed of pictures, and the reasons of those that failed
``manifest``  what the work depends on, and how two pieces of work differ
``parts``     a folder of numbered, checked parts beside the result
``tasks``     one computation over many inputs, in batches, in parts
"""
