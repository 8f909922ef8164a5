"""Released checkpoints in, minimix model files out: inspect, convert, verify."""
