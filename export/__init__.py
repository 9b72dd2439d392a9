"""From a checkpoint to artifacts. Imports the doors of `pipeline/`, nothing deeper."""
