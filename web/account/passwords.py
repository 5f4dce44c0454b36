"""Changing a password, one's own or somebody's, and what becomes of the API tokens that are older."""

from domain.errors import Invalid
from web.auth.guard import Caller
from web.context import services, throttle


async def change_own_password(who: Caller, current: str, new: str) -> None:
    """Change the caller's password, and end all their other sign-ins.

    Raises Forbidden for a wrong current one, TooMany for too many of these, Invalid for a bad new one or the same.
    """
    if new == current:
        raise Invalid("The new password is the current one. Choose another.", code="same_password")
    services().accounts.check(who.user, name=None, password=new)  # What is no guess is not counted as one.
    # A sign-in is a device that is known: what strangers guess keeps nobody from changing the password.
    place, email = f"sign-in:{who.session.id}", who.user.email
    throttle().check_place(place)
    throttle().check_account(place, email, is_known=True)
    await services().accounts.change_password(who.user, current, new, who.session, who.origin)
    throttle().succeeded(place, email, is_known=True)
