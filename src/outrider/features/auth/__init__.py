"""Users, passwords, tokens, sign-in and the verdicts that the gateway asks for."""
