"""What is done with a model beyond one prediction: features, accuracy, speed."""
