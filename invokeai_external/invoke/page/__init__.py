"""What Invoke's web page needs in order to show results."""
