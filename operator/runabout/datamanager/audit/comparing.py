"""Comparing what etcd's keys, the manifests and the segments say of each other: pure, from one look."""

from runabout.datamanager.audit.seen import Part, Seen


def compare_pointers(seen: Seen) -> None:
    """Take note of what does not fit."""
    keys = seen.keys
    begins = [base.manifest.sealed.first for base in seen.bases.values()]
    needed = min(begins) if begins else 1
    known = [each.last for each in seen.segments.values()]
    known += [each.last for each in seen.damages if each.part is Part.SEGMENT]
    end = max(known, default=needed - 1)
    last = max(
        [base.manifest.sealed.last for base in seen.bases.values()] + [0 if seen.sealed is None else seen.sealed.last]
    )
    if seen.listed and seen.listed[0] > needed:
        what = f"is missing: the first one is {keys.segment(seen.listed[0])}"
        seen.add(Part.SEGMENT, keys.segment(needed), what, first=needed, last=seen.listed[0] - 1)
    if last > end:
        what = f"is missing: the log is said to be sealed up to sequence {last}"
        seen.add(Part.SEGMENT, keys.segment(end + 1), what, first=end + 1, last=last)
    for name, base in seen.bases.items():
        there = seen.segments.get(base.manifest.sealed.first)
        if there is not None and there != base.manifest.sealed:
            seen.unfit.add(name)
            where = keys.segment(there.first)
            what = f"ends with another segment than {where}"
            seen.add(Part.MANIFEST, keys.manifests + name, what, covers=base.manifest.covers)
    _compare_sealed(seen, end)
    _compare_pointer(seen)


def _compare_sealed(seen: Seen, end: int) -> None:
    keys, sealed = seen.keys, seen.sealed
    if sealed is not None:
        there = seen.segments.get(sealed.first)
        if there is not None and there != sealed:
            what = f"names other bytes than {keys.segment(there.first)} has, which is whole"
            seen.add(Part.SEALED, keys.sealed, what)
        elif sealed.first not in seen.listed and sealed.last <= end and not _in_hole(seen, sealed.first):
            seen.add(Part.SEALED, keys.sealed, f"names {keys.segment(sealed.first)}: no segment begins there")
    elif keys.sealed not in seen.raw and seen.head is not None and len(seen.listed) > 1:
        seen.add(Part.SEALED, keys.sealed, f"is missing, and there are {len(seen.listed)} segments")


def _compare_pointer(seen: Seen) -> None:
    keys, pointer = seen.keys, seen.pointer
    if pointer is not None:
        base = seen.bases.get(pointer.name)
        where = keys.manifests + pointer.name
        broken = {each.where for each in seen.damages if each.part is Part.MANIFEST}
        if base is not None and base.pointer != pointer:
            seen.add(Part.POINTER, keys.manifest, f"names other bytes than {where} has, which is whole")
        elif base is not None and base.manifest.previous is not None:
            before = keys.manifests + base.manifest.previous.name
            if base.manifest.previous.name not in seen.bases and before not in broken:
                what = f"is missing: {where} names it as the one before"
                seen.add(Part.MANIFEST, before, what, covers=base.manifest.previous.covers)
        elif base is None and where not in broken:
            what = f"is missing: {keys.manifest.decode()} names it"
            seen.add(Part.MANIFEST, where, what, covers=pointer.covers)
    elif keys.manifest not in seen.raw and seen.head is not None:
        later = [name for name, base in seen.bases.items() if base.manifest.previous is not None]
        if later:
            seen.add(Part.POINTER, keys.manifest, f"is missing, and there is {keys.manifests}{max(later)}")


def _in_hole(seen: Seen, sequence: int) -> bool:
    return any(each.part is Part.SEGMENT and each.first <= sequence <= each.last for each in seen.damages)
