"""Preparation of image files into inputs, without PyTorch: for apps to copy."""
