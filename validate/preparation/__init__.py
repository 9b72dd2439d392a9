"""Image files to inputs, without PyTorch: for apps to copy."""
