"""From files on disk to batches: manifest, mosaics, windows, patches, augmentation, phantoms."""
