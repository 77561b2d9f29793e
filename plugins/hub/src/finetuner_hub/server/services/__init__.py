"""What the hub does, as functions of a database session. They know no HTTP."""
