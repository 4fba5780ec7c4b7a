"""Pixels, exactly as published: readers for lossless images, label maps, and the hashes of what an image holds."""
