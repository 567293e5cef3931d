"""Sets aside the articles of orders, and takes them back."""
