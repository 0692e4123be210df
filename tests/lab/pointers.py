"""What is in etcd and on the object storage, looked at without the program that wrote it: does everything hold?"""

import hashlib

from lab.stores import Stores
from runabout.datamanager.batch import NO_CHAIN, link
from runabout.datamanager.head import decode_head, decode_meta, decode_sealed
from runabout.datamanager.manifest import decode_manifest, decode_pointer
from runabout.datamanager.segment import decode_segment
from runabout.runindex.files import read_file


async def check_pointers(stores: Stores) -> None:
    """Follow every pointer in etcd, and the log from the manifest to the head; fails with what does not hold.

    All that etcd points to must be there, with the size and SHA-256 that its parent says, and be of this store; the
    segments must continue the manifest, and the batches in etcd the segments, each by its chain.
    """
    raw, keys, ost = await stores.snapshot(), stores.keys, stores.ost
    assert ost is not None
    if keys.head not in raw:
        assert not raw, "half of a store"
        return
    head, meta = decode_head(raw[keys.head], where="head"), decode_meta(raw[keys.meta], where="meta")
    assert head.incarnation == meta.incarnation
    after, chain = 0, NO_CHAIN
    if keys.manifest in raw:
        pointer = decode_pointer(raw[keys.manifest], where="manifest")
        data = await ost.read(keys.manifests + pointer.name)
        assert (len(data), hashlib.sha256(data).digest()) == (pointer.size, pointer.sha256)
        manifest = decode_manifest(data, where=pointer.name)
        assert (manifest.store_id, manifest.covers) == (meta.store_id, pointer.covers)
        for file in manifest.files:
            file.check(await ost.read(file.object))
        for indexed in () if manifest.index is None else manifest.index.files:
            body = await ost.read(indexed.object)
            indexed.check(body)
            assert len(read_file(indexed.info, body, ())) == indexed.info.rows
        after, chain = manifest.sealed.last, manifest.sealed.chain
    if keys.sealed in raw:
        sealed = decode_sealed(raw[keys.sealed], where="sealed")
        assert sealed.last >= after, "the manifest covers what is not sealed"
        last = await ost.read(keys.segment(sealed.first))
        assert (len(last), hashlib.sha256(last).digest()) == (sealed.size, sealed.sha256)
        while after < sealed.last:
            segment = decode_segment(await ost.read(keys.segment(after + 1)), where=f"segment {after + 1}")
            assert (segment.store_id, segment.previous) == (meta.store_id, chain)
            after, chain = segment.last, segment.chain
        assert (after, chain) == (sealed.last, sealed.chain)
    assert after <= head.sequence
    while after < head.sequence:
        found = link(raw[keys.wal(after + 1)], where=f"batch {after + 1}")
        assert (found.sequence, found.previous) == (after + 1, chain)
        after, chain = after + 1, found.chain
    assert chain == head.chain
