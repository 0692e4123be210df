"""What the gateway counts; every name begins with `runabout_gateway_`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class GatewayMetrics:
    """The gateway's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "runabout_gateway_requests", "Requests, by route and status.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "runabout_gateway_request_seconds",
            "Duration of a request with its bodies.",
            ["route"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.bodies = Counter(
            "runabout_gateway_bodies",
            "Parts and logs that went through the gateway, by direction (in, out).",
            ["direction"],
            registry=registry,
        )
        self.bytes = Counter("runabout_gateway_bytes", "Bytes of them.", ["direction"], registry=registry)
        self.active = Gauge("runabout_gateway_active_bodies", "Bodies that go through now.", registry=registry)
        self.reviews = Counter(
            "runabout_gateway_token_reviews",
            "Questions to the API server whose a token is, by outcome (valid, invalid, unanswered, turned away).",
            ["outcome"],
            registry=registry,
        )
