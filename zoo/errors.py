"""Errors of a user's input, files and network: one line on what, where and what to do next."""


class ZooError(Exception):
    """An error that a user can fix; the command prints it as one line and exits with 1.

    Example:
        >>> try:
        ...     read_images(Path("imgs"))
        ... except ZooError as error:
        ...     print(error)
    """


class TeacherNotFound(ZooError):
    """No card has this name."""


class TeacherBroken(ZooError):
    """A teacher's files are missing, damaged or do not fit its card."""


class HubError(ZooError):
    """A teacher cannot be fetched from the Hub, or a folder not be published there."""


class HubUnreachable(HubError):
    """There is no connection to the Hub."""


class ImagesError(ZooError):
    """A folder, label file or image cannot be used as requested."""


class StudentError(ZooError):
    """A student cannot be built, saved or loaded as requested."""


class RankingError(ZooError):
    """A ranking cannot be made, read or turned into shares."""


def first_line(error: BaseException) -> str:
    """The message of a library's error in one line; its type if it has none."""
    first, *more = (str(error).strip() or type(error).__name__).splitlines()
    # torch states the problem in the second line
    return f"{first} {more[0].strip()}" if more and first.endswith(":") else first
