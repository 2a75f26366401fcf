"""Upscaling of arrays, images and files."""
