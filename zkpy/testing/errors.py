"""What is raised when a test asks for something that cannot be done; the text says what, why, and what to do."""


class ControlError(Exception):
    """A server of a test cannot be started or controlled."""
