"""What each customer has ordered so far: a stream application."""
