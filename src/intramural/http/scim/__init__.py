"""SCIM 2.0 (RFC 7643, RFC 7644): how a directory elsewhere keeps the people and groups here.

Read in this order: `names`, `filters`, `parse`, `patch`, `write`, `about`, `door`.
"""
