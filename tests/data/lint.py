"""Writes lint-*.tflite: small graphs that a delegate takes whole, in part, or not.

python lint.py in the environment of the toolchain tensorflow.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

WEIGHTS = np.random.default_rng(0).normal(size=(3, 3, 3, 8)).astype(np.float32)
TABLE = np.eye(9, 5, dtype=np.float32)


def convolved(image: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(tf.nn.conv2d(image, WEIGHTS, 1, "SAME"))  # (1, 8, 8, 8)


def whole(image: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(convolved(image), [1, 2])


def argmax(image: tf.Tensor) -> tf.Tensor:
    return tf.argmax(convolved(image), -1)


def gather(image: tf.Tensor) -> tf.Tensor:
    return tf.gather(TABLE, tf.cast(tf.reshape(image, [192])[:4], tf.int64))


def five(image: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.transpose(tf.reshape(image, [1, 2, 4, 8, 3]), [0, 4, 1, 3, 2]), [1, 192])


def seven(image: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.reshape(image, [1, 2, 2, 2, 2, 4, 3]) * 2.0, [1, 192])


def flex(image: tf.Tensor) -> tf.Tensor:
    return tf.linalg.det(tf.reshape(convolved(image), [8, 8, 8])) * 2.0


def loop(image: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(lambda value: tf.reduce_sum(value) < 9.0, lambda value: (tf.round(value * 2.0),), [image])[0]


def row(image: tf.Tensor) -> tf.Tensor:
    return image[:, 1]


def converted(function: Callable[[tf.Tensor], tf.Tensor], float16: bool = False) -> bytes:
    module = tf.Module()
    signature = [tf.TensorSpec([1, 8, 8, 3], tf.float32, name="image")]
    module.call = tf.function(lambda image: {"out": function(image)}, input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    if float16:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


for function in (whole, argmax, gather, five, seven, flex, loop, row):
    (Path(__file__).parent / f"lint-{function.__name__}.tflite").write_bytes(converted(function))
(Path(__file__).parent / "lint-half.tflite").write_bytes(converted(whole, float16=True))
