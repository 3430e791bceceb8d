"""The tunnel: frames, streams with flow control, sessions, and the messages that travel beside requests."""
