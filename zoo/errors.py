"""What can go wrong in a user's hands: one line that says what, where and what to do next."""


class ZooError(Exception):
    """A mistake or warning that a user can mend; the command prints it as one line and exits 1."""


class TeacherNotFound(ZooError):
    """No card has this name."""


class TeacherBroken(ZooError):
    """A teacher's files are missing, damaged or do not fit its card."""


class HubError(ZooError):
    """A teacher cannot be fetched from the Hub, or a folder not be published there."""


class HubUnreachable(HubError):
    """The Hub does not answer at all: nor will it for the next teacher."""


class ImagesError(ZooError):
    """A folder, label file or image cannot be used as asked."""


class StudentError(ZooError):
    """A student cannot be built, saved or loaded as asked."""


class RankingError(ZooError):
    """A ranking cannot be made, read or turned into shares."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; its kind if it says nothing."""
    first, *more = (str(error).strip() or type(error).__name__).splitlines()
    # torch says what is wrong in the second
    return f"{first} {more[0].strip()}" if more and first.endswith(":") else first
