"""Checking a store: every object, every link of every chain; what is damaged, what that means, and what to do.

It only reads, and works beside a writer: what has been moved meanwhile is looked at again, and only what is found
twice is damage.
"""

from runabout.datamanager.audit.auditor import Report, audit_store
from runabout.datamanager.audit.meaning import Finding

__all__ = ["Finding", "Report", "audit_store"]
