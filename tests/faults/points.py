"""Where a process of the service may die: one table. Each row names the test that has it die there.

`test_table` holds this to the code (every place is there), to the tests (every point has one) and to docs/faults.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Process = Literal["gateway", "command", "worker", "inspector", "spawner", "broker"]
HERE, OTHERS = "tests/faults/test_gateway.py", "tests/faults/test_others.py"


@dataclass(frozen=True, slots=True)
class Point:
    """`where` is `module:name.in.it` of the running program, which stops before or after it (`when`); empty where the
    process is killed from outside, at a moment that can be seen there. `test`: its file and its name."""

    name: str
    process: Process
    says: str
    test: str
    where: str = ""
    when: Literal["before", "after"] = "after"


def _of(process: Process, name: str, says: str, test: str, where: str = "", when: str = "after") -> Point:
    return Point(name, process, says, test, where, when)  # type: ignore[arg-type]


POINTS: Sequence[Point] = (
    # a start, and an end
    _of("gateway", "start: opened", "database, vault and log are open, nothing else",
        f"{HERE}::test_a_start_and_an_end", "intramural.serving.pool:Pool.start", "before"),
    _of("gateway", "start: recorded", "the log has the start, nobody can ask yet",
        f"{HERE}::test_a_start_and_an_end", "intramural.app:shelve_starter", "before"),
    _of("gateway", "stop: asked", "everything is being closed, the log is the last",
        f"{HERE}::test_a_start_and_an_end", "intramural.audit.log:AuditLog.close", "before"),
    # an act and its record
    _of("gateway", "act: written", "the act and its entry are written, and not committed",
        f"{HERE}::test_an_act_and_its_entry_are_both_there_or_neither", "intramural.audit.log:AuditLog._append"),
    _of("gateway", "act: committed", "they are committed, and nobody was told",
        f"{HERE}::test_an_act_and_its_entry_are_both_there_or_neither", "intramural.services.keys:KeyDesk.create"),
    _of("gateway", "log: group committed", "entries of several are in one commit, and none of them was told",
        f"{HERE}::test_entries_that_were_committed_and_not_told", "intramural.storage.database:Database.write"),
    # chats, files
    _of("gateway", "chat: text written", "somebody's words are kept, and the log does not know of the question",
        f"{HERE}::test_words_without_their_entry", "intramural.chats.chats:Chats.append_turn"),
    _of("gateway", "answer: under way", "an answer is being written, and its reader has some of it",
        "tests/journeys/test_quotas.py::test_what_a_crash_cuts_short_is_charged_as_it_was_held"),
    _of("gateway", "response: at any moment", "a response is kept beside its record",
        "tests/journeys/test_responses_kept.py::test_kills_lose_no_response_that_was_told_and_keep_none_without_its_record"),
    _of("gateway", "batch: between two lines", "lines are answered, and others are not",
        "tests/journeys/test_batches.py::test_kill_9_loses_no_finished_line_and_repeats_none"),
    _of("gateway", "file: half written", "some of a file's bytes are on the disk",
        f"{HERE}::test_files_are_there_whole_or_not_at_all", "intramural.files.disk:Arriving._flush"),
    _of("gateway", "file: no row", "all bytes are on the disk, and no row knows of them",
        f"{HERE}::test_files_are_there_whole_or_not_at_all", "intramural.files.disk:Arriving.finish"),
    _of("gateway", "file: no index", "a file is there, and is not searched yet",
        f"{HERE}::test_a_file_is_searched_after_the_next_start", "intramural.files.files:Files.index", "before"),
    _of("gateway", "file: row deleted", "a file's row is gone, and its bytes lie there",
        f"{HERE}::test_files_are_there_whole_or_not_at_all", "intramural.files.files:Files.drop", "before"),
    _of("gateway", "state: not named", "what an engine computed is written, and has no name yet",
        f"{OTHERS}::test_a_state_that_is_being_written", "intramural.serving.states:States._write"),
    # models
    _of("gateway", "pull: half fetched", "some of a model's bytes came",
        f"{HERE}::test_a_pull_goes_on_by_itself", "intramural.library.blobs:Part.append"),
    _of("gateway", "import: checked", "a model's bytes are checked, and not on the shelf",
        f"{HERE}::test_a_pull_goes_on_by_itself", "intramural.library.blobs:Part.shelve", "before"),
    _of("gateway", "import: no manifest", "its bytes are on the shelf, and no manifest is",
        f"{HERE}::test_a_pull_goes_on_by_itself", "intramural.library.stock:Stock.put", "before"),
    _of("gateway", "import: no record", "the model is on the shelf, and the log does not know",
        f"{HERE}::test_a_pull_goes_on_by_itself", "intramural.library.stock:Stock.put"),
    # people
    _of("gateway", "list: half taken in", "the first people of a list are here, the others are not",
        f"{HERE}::test_a_list_of_people", "intramural.services.rosters:Rosters._do", "before"),
    _of("gateway", "erasure: listed", "somebody is on the list of erased people, and is still here",
        f"{HERE}::test_an_erasure_is_finished", "intramural.vault.erased:Erased.note"),
    _of("gateway", "erasure: rows gone", "rows and keys are gone, the bytes of files lie there",
        f"{HERE}::test_an_erasure_is_finished", "intramural.services.personal:Personal._gone"),
    _of("gateway", "export: half sent", "some of an export is on its way",
        f"{HERE}::test_an_export_can_be_had_again", "intramural.services.personal:_Sink.take"),
    # keys
    _of("gateway", "key: next one made", "the installation's next key lies beside the present one",
        f"{HERE}::test_keys_open_whatever_a_change_has_come_to", "intramural.vault.keyfile:KeyFile.following"),
    _of("gateway", "key: wrapped anew", "data keys are wrapped with the next key, not committed",
        f"{HERE}::test_keys_open_whatever_a_change_has_come_to", "intramural.vault.vault:Vault._rewrap_some"),
    _of("gateway", "key: not exchanged", "all are wrapped with the next key, which is not the installation's yet",
        f"{HERE}::test_keys_open_whatever_a_change_has_come_to", "intramural.vault.keyfile:KeyFile.exchange", "before"),
    _of("gateway", "key: at any moment", "the same, at moments that chance gives, also to a token",
        "tests/vault/test_vault.py::test_a_change_cut_off_anywhere_is_finished_at_the_next_start"),
    _of("gateway", "data key: half sealed", "somebody has a new key, and their files are sealed with the old one",
        f"{HERE}::test_keys_open_whatever_a_change_has_come_to", "intramural.files.files:Files.reseal", "before"),
    # the database and what it is copied to
    _of("gateway", "migration: between two", "some migrations are made, the others are not",
        f"{HERE}::test_a_migration_is_made_whole_or_not_at_all",
        "alembic.runtime.migration:HeadMaintainer.update_to_step"),
    _of("gateway", "migration: not committed", "all are made, and not committed",
        f"{HERE}::test_a_migration_is_made_whole_or_not_at_all", "intramural.storage.migrate:upgrade"),
    _of("command", "backup: some objects", "some of a backup is in its folder",
        f"{HERE}::test_a_backup_and_a_restore", "intramural.services.backups.folder:Folder.put"),
    _of("command", "backup: no manifest", "all of it is, but what names it",
        f"{HERE}::test_a_backup_and_a_restore", "intramural.services.backups.folder:Folder.finish", "before"),
    _of("command", "restore: some files", "some files are restored, beside their place",
        f"{HERE}::test_a_backup_and_a_restore", "intramural.services.backups.restoring:_Source.write"),
    _of("command", "restore: not named", "all is restored, and has not got its name",
        f"{HERE}::test_a_backup_and_a_restore", "intramural.services.backups.restoring:_fill"),
    _of("command", "restore: no record", "it has, and the log does not know of the restore",
        f"{HERE}::test_a_backup_and_a_restore", "intramural.app.apart:_record", "before"),
    # the other processes
    _of("inspector", "inspector: begun", "its process is there, and has not read the file",
        f"{OTHERS}::test_an_inspector_dies", "intramural.sandbox.children:_confined", "before"),
    _of("worker", "worker: loading", "its process is there, its model is not loaded",
        f"{OTHERS}::test_a_worker_dies", "intramural.serving.worker:WorkerProcess.ready", "before"),
    _of("worker", "worker: prefill", "it reads the prompt, and nothing was answered",
        f"{OTHERS}::test_a_worker_dies", "intramural.serving.lease:Lease.ask"),
    _of("worker", "worker: decode", "an answer is under way",
        "tests/journeys/test_life.py::test_a_killed_worker_is_an_error_event_and_the_next_request_works"),
    _of("worker", "worker: saving", "it is asked for the state of a conversation",
        f"{OTHERS}::test_a_worker_dies_over_a_state", "intramural.serving.warmth:Warmth._act", "before"),
    _of("spawner", "spawner: at rest", "nothing is asked of it",
        "tests/journeys/test_sealed.py::test_without_its_spawner_it_ends_and_says_why"),
    _of("spawner", "spawner: asked", "it is asked to start a worker, and has not answered",
        f"{OTHERS}::test_the_spawner_dies_while_it_is_asked", "intramural.sandbox.spawning:Spawner._send"),
    _of("broker", "broker: resolving", "it is asked for a connection",
        f"{OTHERS}::test_the_broker_dies", "intramural.egress.broker:_Line._send"),
    _of("broker", "broker: handing over", "a connection is on its way to the gateway",
        f"{OTHERS}::test_the_broker_dies", "intramural.egress.broker:_Line._read", "before"),
)  # fmt: skip

NAMES = {point.name: number for number, point in enumerate(POINTS)}
