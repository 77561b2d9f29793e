"""The conformance suite of stores: what core relies on, asked of any store.

A store's author subclasses it and gives one fixture::

    from finetuner.testing import StoreCase, StoreTests


    class TestAcmeStore(StoreTests):
        @pytest.fixture
        def case(self, acme_server) -> StoreCase:
            bucket = acme_server.new_bucket()
            return StoreCase(
                store=AcmeStore(bucket),
                read_raw=lambda key: other_client.read(bucket, key),
                keys_raw=lambda: other_client.keys(bucket),
                reopen=lambda: AcmeStore(bucket),
                endpoint=acme_server.endpoint,
                open_at=lambda endpoint: AcmeStore(bucket, endpoint, timeout=1),
            )

What a store cannot do, it leaves out of ``StoreCase.capabilities``, and the tests of
that are skipped with the reason. A test that is replaced says why: ``@overrides``.
"""

from finetuner.testing.store_faults import FaultTests
from finetuner.testing.store_listing import ListingTests
from finetuner.testing.store_objects import ObjectTests
from finetuner.testing.store_writers import WriterTests


class StoreTests(ObjectTests, ListingTests, WriterTests, FaultTests):
    """What every store must do."""
