"""What happens at sites, and which alerts must fire when. Each scene is real runs of cc-archiver; hours are those of its timeline."""

import shutil

SCENES = []
DAY = 24


def scene(play):
    SCENES.append(play)
    return play


@scene
def runs_stop_to_come(site):
    for hours in (0, 6):
        site.snapshot(hours - 6)
        site.at(hours).archive()
    # hour 12: the timer does not start it
    site.expect(15)
    site.expect(15.25, "CcArchiverNoCompleteRun")
    site.at(18).archive()
    site.expect(18.25)


@scene
def a_killed_run_leaves_nothing(site):
    site.in_s3().snapshot(-6)
    site.at(0).archive()
    site.snapshot(0)
    site.at(6).interrupted(-9)
    site.expect(9)
    site.expect(9.25, "CcArchiverNoCompleteRun")
    site.at(12).archive()
    site.expect(12.25)


@scene
def a_run_that_is_told_to_end_is_no_failure(site):
    site.in_s3().snapshot(-6)
    site.at(0).archive()
    site.snapshot(0)
    site.at(6).interrupted(5)
    site.expect(8)
    site.at(8.5).archive()
    site.expect(12)


@scene
def the_first_run_fails(site):
    site.in_s3().snapshot(-6)
    site.store.fault = lambda method, key: (403, "AccessDenied")
    site.at(0).archive(code=1)
    site.expect(0.75)
    site.expect(1.25, "CcArchiverNeverComplete", "CcArchiverRunFailed")
    site.store.heal()
    site.at(2).archive()
    site.expect(2.25)


@scene
def an_upload_fails(site):
    site.in_s3().snapshot(-6)
    site.at(0).archive()
    site.snapshot(0)
    site.store.fault = lambda method, key: (403, "AccessDenied") if method == "PUT" else None
    site.at(6).archive(code=1)
    site.expect(6.75)
    # what systemd does ten minutes later fails, too
    site.at(6.5).archive(code=1)
    site.expect(7.25, "CcArchiverRunFailed")
    site.store.heal()
    site.at(8).archive()
    site.expect(8.25)


@scene
def a_setting_is_wrong(site):
    site.snapshot(-6)
    site.at(0).archive()
    hold = site.work / "hold"
    hold.mkdir()
    (hold / "tree-of-these-logs").write_text("/another/tree\n")
    site.at(6).archive("--wal-hold", str(hold), code=2)
    site.expect(6.5)
    site.expect(7.25, "CcArchiverRunFailed")
    site.at(8).archive()
    site.expect(8.25)


@scene
def runs_overlap(site):
    site.in_s3().snapshot(-6)
    site.at(0).archive()
    site.snapshot(0)
    run_id, process, go_on = site.stalled("archive")
    site.at(6).archive(code=4)
    site.expect(6.5)
    site.at(7).archive(code=4)
    site.expect(7.25, "CcArchiverRunsOverlap")
    site.at(8)
    go_on()
    site.ended("archive", run_id, process, 0)
    site.again(6, 38)
    site.expect(32)


@scene
def one_of_two_machines_falls_silent(site):
    site.at(0)
    site.snapshot(-6)
    # before the first run: there is nothing to ask
    site.at(2).archive()
    site.expect(0.75)
    site.expect(1.5, "CcArchiverSilent")
    site.expect(2.25)
    site.machine = "second"
    site.at(3).archive()
    site.gone(5)
    site.expect(5.75)
    site.expect(6.25, "CcArchiverSilent")
    site.at(7).archive()
    site.expect(7.25)
    # renamed: it ends by itself. The other one goes on.
    site.gone(8)
    site.machine = "cc-backend"
    site.at(8).archive()
    site.expect(9.25, "CcArchiverSilent")
    site.again(6, 8 + 3 * DAY)
    site.expect(8.25 + 3 * DAY)


@scene
def a_damaged_snapshot_is_near_its_deletion(site):
    settings = site.settings(**{"retention-in-memory": "24h", "checkpoint-interval": "6h"})
    site.snapshot(-6)
    site.at(0).archive("--cc-backend-config", settings)
    bad = site.damaged(0)
    site.at(6).archive("--cc-backend-config", settings, code=3)
    site.expect(6.25, "CcArchiverSetAside")
    site.live(fires=["CcArchiverSetAside"], over=["CcArchiverToLookAt"])
    site.at(12).archive("--cc-backend-config", settings, code=3)
    site.expect(17.75, "CcArchiverSetAside")
    site.at(18).archive("--cc-backend-config", settings, code=3)
    site.expect(18.25, "CcArchiverSetAside", "CcArchiverSnapshotNearDeletion")
    bad.unlink()
    site.snapshot(0)
    site.at(19).archive("--cc-backend-config", settings)
    site.expect(19.25)
    site.live(over=["CcArchiverSetAside", "CcArchiverSnapshotNearDeletion"])


@scene
def archiving_falls_behind(site):
    site.snapshot(-6)
    site.at(0).archive()
    bad = site.damaged(0)
    site.at(6).archive(code=3)
    site.again(6, 48)
    site.expect(48, "CcArchiverSetAside")
    site.expect(48.25, "CcArchiverFallsBehind", "CcArchiverSetAside")
    bad.unlink()
    site.at(54).archive()
    site.expect(54.25)


@scene
def the_first_object_of_all_is_spoilt(site):
    site.in_s3().snapshot(-6)
    site.store.spoils = True
    site.at(0).archive("--verify", "full", code=3)
    site.expect(0.25, "CcArchiverProofFailed", "CcArchiverSetAside")
    site.live(fires=["CcArchiverProofFailed"])
    site.store.heal()
    site.store.remove(site.name, ".parquet")
    site.at(6).archive("--verify", "full")
    site.expect(6.25)
    site.live(over=["CcArchiverSetAside"])
    # and a later one
    site.snapshot(0)
    site.store.spoils = True
    site.at(12).archive("--verify", "full", code=3)
    site.expect(12.25, "CcArchiverProofFailed", "CcArchiverSetAside")
    site.store.heal()
    site.store.remove(site.name, ".parquet")
    site.at(13).archive("--verify", "full")
    site.again(6, 43)
    site.expect(37)


@scene
def verify_finds_something(site):
    site.snapshot(-6)
    site.at(0).archive()
    path = next(site.archive_folder.rglob("*.parquet"))
    good = path.read_bytes()
    path.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    site.at(1).run("verify", "--read-data", code=3)
    site.expect(1.25, "CcArchiverFindings")
    site.live(fires=["CcArchiverFindings"], over=["CcArchiverToLookAt"])
    path.write_bytes(good)
    site.at(2).run("verify", "--read-data")
    site.expect(2.25)
    site.live(over=["CcArchiverFindings"])


@scene
def a_snapshot_is_kept_from_pruning(site):
    site.snapshot(-60)
    site.snapshot(-54)
    site.snapshot(-6)
    site.at(0).archive()
    late = site.snapshot(-60, host="n02")
    site.snapshot(-54, host="n02")
    site.snapshot(-6, host="n02")
    site.at(1).run("prune", "--older-than", site.ago(-36), code=3)
    site.expect(1.25, "CcArchiverPruneKept")
    site.live(fires=["CcArchiverPruneKept"], over=["CcArchiverToLookAt"])
    site.at(2).archive()
    site.at(3).run("prune", "--older-than", site.ago(-36))
    site.expect(3.25)
    site.live(over=["CcArchiverPruneKept"])
    if late.exists():
        site.wrong.append(f"{site.name}: {late} was not pruned")


@scene
def what_has_expired_is_meant_to_stay(site):
    # nothing proves the first one, as its date is below the floor
    site.snapshot(-240)
    site.snapshot(-234)
    site.snapshot(-6)
    site.at(0).archive()
    site.at(1).run("expire", "--keep", "17days")
    site.at(1.5).run("compact")
    site.at(2).run("prune", "--older-than", site.ago(-36))
    site.expect(2.25)
    kept = next(value for series, value in site.events[-1][2].items() if 'reason="expired"' in series)
    if kept != 1:
        site.wrong.append(f"{site.name}: {kept} snapshots are kept as expired, not 1")


@scene
def a_file_that_nobody_wrote_lies_below_the_floor(site):
    site.snapshot(-240)
    site.snapshot(-6)
    site.at(0).archive()
    folder = min(site.archive_folder.rglob("*.parquet")).parent
    strange = folder / "part-of-somebody-else.parquet"
    shutil.copy(min(folder.iterdir()), strange)
    strange.write_bytes(b"PAR1PAR1")
    site.at(1).run("expire", "--keep", "17days", code=3)
    site.expect(1.25, "CcArchiverToLookAt")
    site.live(fires=["CcArchiverToLookAt"])
    strange.unlink()
    site.at(2).run("expire", "--keep", "17days")
    site.expect(2.25)
    site.live(over=["CcArchiverToLookAt"])


@scene
def a_weekly_command_stops_to_come(site):
    site.snapshot(-6)
    site.at(0).run("archive")
    site.at(0.5).run("verify")
    site.at(1).archive()
    site.again(6, 217)
    site.expect(0.5 + 9 * DAY)
    site.expect(0.75 + 9 * DAY, "CcArchiverOtherCommandMissing")
    site.at(218).run("verify")
    site.expect(218.25)


@scene
def a_store_that_is_short_of_breath(site):
    site.in_s3().snapshot(-6)
    site.at(0).archive()
    for host in range(3):
        for day in range(3):
            site.snapshot(-120 + day * DAY, host=f"n1{host}")
    asked = set()

    def every_second_one(method, key):
        if (method, key) not in asked and method in ("GET", "HEAD"):
            asked.add((method, key))
            return 503, "SlowDown"
        asked.discard((method, key))
        return None

    site.store.fault = every_second_one
    site.at(6).archive("--verify", "full")
    site.at(6.25).archive()
    site.expect(6.75)
    site.expect(7.5, "CcArchiverManyRetries")
    site.store.heal()
    site.at(12).archive()
    site.again(6, 36)
    site.expect(31)


@scene
def the_table_cannot_be_brought_up_to_date(site):
    site.snapshot(-6)
    site.at(0).archive()
    site.at(0.25).run("table", "--init")
    log = {path: path.read_bytes() for path in (site.archive_folder / "_delta_log").iterdir()}
    for path in log:
        path.write_bytes(b"{")
    for hours in (6, 12):
        site.snapshot(hours - 6)
        site.at(hours).archive()
        site.expect(hours + 0.5, *(["CcArchiverTableBehind"] if hours > 6 else []))
    site.live(fires=["CcArchiverTableBehind"])
    for path, good in log.items():
        path.write_bytes(good)
    site.at(13).run("table")
    site.snapshot(12)
    site.at(18).archive()
    site.again(6, 66)
    site.expect(61)


@scene
def samples_in_a_log_wait_for_a_store_that_is_down(site):
    site.snapshot(-6)
    hold = str(site.work / "hold")
    site.log([(0.5 + n / 6, "cpu_load", 77.0 + n) for n in range(3)])
    site.at(1).archive("--wal-hold", hold)
    site.again(6, 67)
    site.at(72).archive("--wal-hold", hold)
    site.expect(72.25)
    site.at(74).archive("--wal-hold", hold)
    site.expect(74.25, "CcArchiverLogsWait")
    # it is back
    site.snapshot(72, host="n02")
    site.at(78).archive("--wal-hold", hold)
    site.expect(78.25)


@scene
def shards_of_a_cronjob_push(site):
    for host in range(8):
        site.snapshot(-6, host=f"n{host}")
    for hours in (0, 6):
        for shard in range(2):
            if (hours, shard) != (6, 1):
                site.at(hours + shard / 12).archive("--shard", f"{shard}/2", group=f"fritz-{shard}")
    # the second pod does not come
    site.expect(9.5, "CcArchiverNoCompleteRun")
    site.at(10).archive("--shard", "1/2", group="fritz-1")
    site.expect(10.25)
