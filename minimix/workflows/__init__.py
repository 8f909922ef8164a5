"""What is done with a model beyond one prediction: measuring it."""
