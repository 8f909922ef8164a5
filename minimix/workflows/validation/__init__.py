"""Accuracy of a model on pictures of known classes.

``classes``    which class a word means: a synset, an index, a name
``layout``     a folder -> every picture with its true class, or why not
``labels``     the same with a file of labels
``validate``   the work itself, resumable
``scores``     accuracy with its interval, per class, confusion, calibration
``confusion``  which classes are taken for which, as a table and as a picture
"""
