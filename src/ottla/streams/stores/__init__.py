"""State stores: encodings over one ordered map of bytes."""
