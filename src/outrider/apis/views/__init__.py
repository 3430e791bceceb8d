"""How types look in `/v3`: one declaration a type, and the pure functions that follow it."""
