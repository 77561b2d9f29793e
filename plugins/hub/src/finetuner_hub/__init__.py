"""The hub: users, their runs, and the queue that workers take them from."""
