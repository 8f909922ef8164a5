"""A new classifier on a network's pooled features, from a folder of pictures by class.

``data``        a folder -> pictures with their classes, or why not
``augment``     a picture -> itself and views of it: crops and mirror images
``classifier``  features and classes -> a matrix and biases; scikit-learn is used here alone
``assessing``   which penalty is best, and how often the classifier is right about other pictures
``finetune``    the work itself, resumable, and the model file that comes out of it
"""
