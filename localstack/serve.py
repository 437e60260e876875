"""Runs LocalStack, listening on the loopback address only and keeping objects with its other data.

LocalStack 4.14.0 takes the port from GATEWAY_LISTEN but not the IPv4 address, and so listens on
every interface; it goes on without listening if the port is taken; and it keeps objects in one
fixed directory under /tmp, where two servers get in each other's way. All put right here.
"""

import os
import sys

os.closerange(3, 1024)  # what the caller of `up` happened to have open

from twisted.internet import endpoints


class LoopbackEndpoint(endpoints.TCP4ServerEndpoint):
    def __init__(self, reactor, port, **options):
        super().__init__(reactor, port, **{**options, "interface": "127.0.0.1"})

    def listen(self, factory):
        return super().listen(factory).addErrback(give_up)


def give_up(failure):
    print("cannot listen:", failure.getErrorMessage(), file=sys.stderr, flush=True)
    os._exit(1)


endpoints.TCP4ServerEndpoint = LoopbackEndpoint

from localstack.services.s3 import provider

provider.DEFAULT_S3_TMP_DIR = os.path.join(os.environ["FILESYSTEM_ROOT"], "objects")

from localstack.runtime.main import main

main()
