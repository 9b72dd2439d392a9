"""What MediaPipe's tasks read in a TFLite file beyond names and labels: SEGMENTER_METADATA and DETECTOR_METADATA.

The slots are those of MediaPipe's image_segmenter_metadata_schema.fbs and object_detector_metadata_schema.fbs. Needs
flatbuffers only.
"""

import flatbuffers

from export.graphs.flatbuffer_written import table, vector
from records.head import Head

IDENTIFIER = b"V001"
"""Of both schemas."""
SEGMENTER, DETECTOR = "SEGMENTER_METADATA", "DETECTOR_METADATA"
SOFTMAX = 2


def segmenter() -> dict[str, bytes]:
    """Return what ImageSegmenter wants to know of logits: that their softmax over the classes is a confidence."""
    builder = flatbuffers.Builder(64)
    builder.Finish(table(builder, 2, {}, {0: SOFTMAX}), IDENTIFIER)
    return {SEGMENTER: bytes(builder.Output())}


def detector(head: Head) -> dict[str, bytes]:
    """Return what ObjectDetector wants to know to make boxes of a raw head: the anchors, and what the numbers mean."""
    builder = flatbuffers.Builder(32 * len(head.anchors))
    anchors = [table(builder, 4, {}, floats={0: x, 1: y, 2: width, 3: height}) for y, x, height, width in head.anchors]
    schema = table(builder, 1, {0: vector(builder, anchors)})
    fixed = table(builder, 1, {0: schema})
    y, x, height, width = head.scales
    # A box has four numbers, and behind them no points of two each.
    counts = {0: len(head.labels), 1: len(head.anchors), 2: 4, 3: 4, 4: 0, 5: 2}
    scales = {6: x, 7: y, 8: width, 9: height}
    decoding = table(builder, 12, {}, {10: int(head.exponential), 11: 0}, counts, scales)
    builder.Finish(table(builder, 3, {1: fixed, 2: decoding}), IDENTIFIER)
    return {DETECTOR: bytes(builder.Output())}
