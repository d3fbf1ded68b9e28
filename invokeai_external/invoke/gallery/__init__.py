"""What becomes of images in Invoke: into the gallery, or kept where their owner finds them."""
