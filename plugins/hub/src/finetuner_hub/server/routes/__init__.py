"""The hub's HTTP: requests become calls of services, records become answers."""
