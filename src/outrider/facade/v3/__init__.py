"""`/v3`: every type that declares a view, as Norman clients read and write it."""
