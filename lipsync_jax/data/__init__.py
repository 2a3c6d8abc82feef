"""From dataset records to batches on the mesh; knows no system."""
