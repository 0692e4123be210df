"""What can be wrong with a task before any server has seen its pod."""


class InvalidPodError(ValueError):
    """The task asks for a pod that cannot be: the user's failure (reason InvalidPod); never retried.

    The message begins with the field's path and says what to do.
    """
