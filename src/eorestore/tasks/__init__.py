"""What goes in, what must come out, by which losses and scores."""
