"""Who a person is, what they may do, and how it is done in their name. All of it is the API server's to say."""

from runabout.gateway.errors import ForbiddenError, NotFoundError
from runabout.gateway.identities import Identities
from runabout.kube.objects import RUNS
from runabout.kube.reviews import Action, Identity, may
from runabout.kube.session import Impersonation, Session
from runabout.records import Run

SYSTEM = "system:"
ACCOUNT = "system:serviceaccount:"
MASTERS = "system:masters"


def unknown_run(run: str) -> NotFoundError:
    """Return what is said of a run that does not exist, or not for whoever asks; `run` is the id they named."""
    return NotFoundError(f"there is no run {run!r}")


class People:
    """Asks about people; `groups` are those in which they may be impersonated, none: in all of theirs."""

    def __init__(self, identities: Identities, session: Session, *, groups: tuple[str, ...]) -> None:
        self._identities = identities
        self._session = session
        self._groups = groups

    async def who(self, authorization: str | None, source: str) -> Identity:
        """Return who sends this header from the network address `source`.

        Raises:
            UnauthorizedError. TooManyError. KubeError.
        """
        return await self._identities.of(authorization, source=source)

    async def demand(self, who: Identity, *actions: Action) -> None:
        """Return if somebody may do all of this.

        Raises:
            ForbiddenError: it says what they may not. KubeError.
        """
        for action in actions:
            if not await may(self._session, who, action):
                what = (
                    f"{action.resource.plural}/{action.subresource}" if action.subresource else action.resource.plural
                )
                raise ForbiddenError(f"{who.user} may not {action.verb} {what} in the namespace {action.namespace}")

    async def demand_of(self, who: Identity, run: Run, *actions: Action) -> None:
        """Return if somebody may do all of this with a run that they have named by its id alone.

        Raises:
            ForbiddenError: they may see the run; it says what they may not. NotFoundError: they may not even see it,
            and are told what they would be told if it did not exist. KubeError.
        """
        try:
            await self.demand(who, *actions)
        except ForbiddenError:
            if not await may(self._session, who, Action("get", RUNS, run.namespace, run.name)):
                raise unknown_run(run.id) from None
            raise

    def acting(self, who: Identity) -> Impersonation:
        """Return in whose name to act.

        Whoever is above all rules, and the cluster's own parts, are not acted for: nothing that goes wrong here may
        have their power.

        Raises:
            ForbiddenError
        """
        is_part = who.user.startswith(SYSTEM) and not who.user.startswith(ACCOUNT)
        if MASTERS in who.groups or is_part:
            raise ForbiddenError(f"the gateway does not act for {who.user}: change the Run itself, with kubectl")
        if not all(name.isprintable() for name in (who.user, *who.groups)):
            raise ForbiddenError("the gateway does not act for names with control characters")
        return Impersonation(
            who.user, tuple(group for group in who.groups if not self._groups or group in self._groups)
        )
