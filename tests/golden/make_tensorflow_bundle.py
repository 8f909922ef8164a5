"""Write the tiny bundle beside this script; needs TensorFlow (2.21 made the one kept here).

Run: python tests/golden/make_tensorflow_bundle.py
"""

from __future__ import annotations

from pathlib import Path


def main() -> None:
    """Save one variable of each element type, and a text, which lies beside them."""
    import tensorflow as tf

    counted = tf.reshape(tf.range(6), (2, 3))
    types = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8"]
    variables = {name: tf.Variable(tf.cast(counted - 2, name)) for name in types}
    variables["uint8"] = tf.Variable(tf.cast(counted + 250, "uint8"))
    variables["bool"] = tf.Variable(counted > 3)
    variables["empty"] = tf.Variable(tf.zeros((0, 4)))
    variables["scalar"] = tf.Variable(tf.constant(2**40, tf.int64))
    variables["text"] = tf.Variable(tf.constant(["", "panda", "x" * 300]))
    variables["complex64"] = tf.Variable(tf.constant([1 + 2j], tf.complex64))
    tf.train.Checkpoint(**variables).write(str(Path(__file__).parent / "tensorflow_bundle"))


if __name__ == "__main__":
    main()
