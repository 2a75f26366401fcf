"""Upscaling: of arrays, of images, of files."""
