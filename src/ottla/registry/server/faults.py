"""The refusals of the REST API: HTTP status, Confluent's error code, and its wording where clients may look at it.

Source: Confluent's API reference. The code's first three digits are the HTTP status.
"""

from __future__ import annotations

from ...errors import RegistryRejected


def fault(code: int, message: str) -> RegistryRejected:
    """A refusal with one of Confluent's five-digit codes."""
    return RegistryRejected(message, status=code // 100, code=code)


def subject_not_found(subject: str) -> RegistryRejected:
    return fault(40401, f"Subject '{subject}' not found.")


def version_not_found(version: int | str) -> RegistryRejected:
    return fault(40402, f"Version {version} not found.")


def schema_not_found(schema_id: int | str | None = None) -> RegistryRejected:
    return fault(40403, "Schema not found" if schema_id is None else f"Schema {schema_id} not found")


def subject_soft_deleted(subject: str) -> RegistryRejected:
    return fault(40404, f"Subject '{subject}' was soft deleted. Set permanent=true to delete permanently")


def subject_not_soft_deleted(subject: str) -> RegistryRejected:
    return fault(40405, f"Subject '{subject}' was not deleted first before being permanently deleted")


def version_soft_deleted(subject: str, version: int) -> RegistryRejected:
    return fault(
        40406, f"Subject '{subject}' Version {version} was soft deleted. Set permanent=true to delete permanently"
    )


def version_not_soft_deleted(subject: str, version: int) -> RegistryRejected:
    return fault(40407, f"Subject '{subject}' Version {version} was not deleted first before being permanently deleted")


def no_subject_config(subject: str) -> RegistryRejected:
    return fault(40408, f"Subject '{subject}' does not have subject-level compatibility configured")


def no_subject_mode(subject: str) -> RegistryRejected:
    return fault(40409, f"Subject '{subject}' does not have subject-level mode configured")


def incompatible(subject: str, details: list[str]) -> RegistryRejected:
    return fault(
        40901,
        f'Schema being registered is incompatible with an earlier schema for subject "{subject}", '
        f"details: [{', '.join(details)}]",
    )


def invalid_schema(reason: str) -> RegistryRejected:
    return fault(42201, f"Invalid schema: {reason}")


def invalid_version(version: str) -> RegistryRejected:
    return fault(
        42202,
        f"The specified version '{version}' is not a valid version id. "
        'Allowed values are between [1, 2^31-1] and the string "latest"',
    )


def invalid_level(level: object, allowed: list[str]) -> RegistryRejected:
    return fault(42203, f"Invalid compatibility level {level!r}. Valid values are {', '.join(allowed)}")


def invalid_mode(mode: object, allowed: list[str]) -> RegistryRejected:
    return fault(42204, f"Invalid mode {mode!r}. Valid values are {', '.join(allowed)}")


def not_permitted(reason: str) -> RegistryRejected:
    return fault(42205, reason)


def reference_exists(subject: str, version: int) -> RegistryRejected:
    return fault(
        42206,
        f"One or more references exist to the schema {{magic=1,keytype=SCHEMA,subject={subject},version={version}}}.",
    )


def id_mismatch(schema_id: int, subject: str) -> RegistryRejected:
    return fault(42207, f"Overwrite new schema with id {schema_id} is not permitted: another one has it ({subject}).")


def invalid_rule_set(reason: str) -> RegistryRejected:
    return fault(42210, f"Invalid rule set: {reason}")


def association_not_found(name: str) -> RegistryRejected:
    return fault(40410, f"Association for '{name}' not found.")


def invalid_subject(subject: str, reason: str) -> RegistryRejected:
    return fault(42208, f"The specified subject '{subject}' is not a valid subject: {reason}")


def schema_too_large(reason: str) -> RegistryRejected:
    return fault(42209, f"The schema is too large: {reason}")


def store_failed(reason: str) -> RegistryRejected:
    return fault(50001, f"The store behind the registry failed: {reason}")


def store_timed_out(reason: str) -> RegistryRejected:
    return fault(50002, f"The store behind the registry did not answer in time: {reason}")


def forwarding_failed(reason: str) -> RegistryRejected:
    return fault(50003, f"The request could not be sent on to the instance that decides: {reason}")


def no_leader(reason: str) -> RegistryRejected:
    return fault(50004, f"No instance decides: {reason}")
