"""Writes mean-float32.tflite and mean-uint8.tflite: the mean colour of a picture of 8 × 8 pixels, from −1 to 1.

python mean.py in the environment of the toolchain tensorflow.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

CORNERS = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]


class Mean(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 3], tf.float32, name="image")])
    def __call__(self, image):
        return {"colour": tf.reduce_mean(image, [1, 2]) * 2 - 1}  # (1, 3)


model = Mean()
for kind in ("float32", "uint8"):
    converter = tf.lite.TFLiteConverter.from_concrete_functions([model.__call__.get_concrete_function()], model)
    if kind == "uint8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [np.broadcast_to(np.float32(corner), (1, 8, 8, 3)).copy()] for corner in CORNERS
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    (Path(__file__).parent / f"mean-{kind}.tflite").write_bytes(converter.convert())
