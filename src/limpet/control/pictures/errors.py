"""Why there is no picture."""

from limpet.errors import LimpetError, UnreachableError


class NoBrowserError(UnreachableError):
    """This machine has no browser that could take pictures."""

    code = "no_browser"


class PicturesBusyError(UnreachableError):
    """Too many pictures are wanted at once."""

    code = "pictures_busy"


class PictureFailedError(LimpetError):
    """The page could not be pictured, and the page is why."""

    code = "picture_failed"
    status = 502


class BrowserEndedError(PictureFailedError):
    """The browser ended under the picture, by whichever page it showed."""

    code = "browser_ended"
