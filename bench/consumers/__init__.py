"""Programs that read a topic of orders to its end, one framework each; `bench listener` and `bench peers` run them."""
