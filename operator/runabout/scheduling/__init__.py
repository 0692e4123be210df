"""Order as pure code: which queued run starts next in its group, and which executor gets which task."""
