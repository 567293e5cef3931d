"""Inbox, outbox, request and reply, scheduled publishing: what services need beside handlers and publishing."""
