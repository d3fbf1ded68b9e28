"""What Invoke's web page needs to be told."""
