"""The fake API server is what our client believes an API server to be."""

from lab.kube_suite import KubeSuite


class TestFake(KubeSuite):
    pass
