"""Functions around a handler's call: one policy per file, and the hook that puts them there."""
