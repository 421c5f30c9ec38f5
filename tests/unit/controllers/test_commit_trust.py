"""Real git, ssh and gpg: whose commits are adopted, row by row of the merge buttons, and hostile ones."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from signed_history import History, Keys, guest, operator

from pvc_gitops.errors import RepoError

DAY_S = 86400


@pytest.fixture(scope="module")
def keys():
    # gpg's agent has a socket in it, whose path may have 108 characters; pytest's may have more.
    home = Path("/tmp") / f"pvc-keys-{time.monotonic_ns()}"
    home.mkdir(mode=0o700)
    made = Keys(home)
    yield made
    made.end()


@pytest.fixture
def history(tmp_path, keys):
    def make(signers, **files):
        return History(tmp_path, keys, signers, files)

    return make


def forge(keys, web="web-flow"):
    if web.startswith("gpg:"):
        return {"trust/forge_keys.asc": keys.gpg(web.removeprefix("gpg:"))}
    return {"trust/forge_keys": f"web {keys.ssh(web)}\n"}


def said(problems, *words):
    text = "\n".join(problems)
    for word in words:
        assert word in text, text
    return True


# --- one commit ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["tip", "every"])
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_commit_signed_by_an_operator_is_adopted(history, keys, mode, kind):
    key = keys.ssh(f"carl-{kind}", kind)
    h = history(mode, **{"operators/carl.yaml": operator("carl", key, roles="admin")})
    h.commit({"vms/db9.yaml": guest("db9", "2GiB")}, by=f"carl-{kind}")
    found = h.found()
    assert (found.problems, found.signer) == ((), "carl")


@pytest.mark.parametrize("mode", ["tip", "every"])
def test_a_commit_signed_with_openpgp_is_adopted(history, keys, mode):
    h = history(mode, **{"trust/gpg/ann.asc": keys.gpg("ann")})
    h.commit({"vms/db9.yaml": guest("db9", "2GiB")}, by="gpg:ann")
    found = h.found()
    assert (found.problems, found.signer) == ((), "ann")


@pytest.mark.parametrize("mode", ["tip", "every"])
def test_an_unsigned_commit_is_held_back_with_what_to_do(history, mode):
    h = history(mode)
    tip = h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by=None)
    problems = h.problems()
    assert problems[0] == f"refused: {tip[:7]} is not adopted; {h.base[:7]} stays in force"
    said(problems, f"{tip[:7]} (nobody): no signature; signers: {mode} wants one")
    said(problems, "git commit --amend --no-edit -S", f"Pvc-Vouch: {h.base[:7]}..{tip[:7]}")


def test_without_signers_anybody_may(history):
    h = history("none")
    h.commit({"vms/db9.yaml": guest("db9", "2GiB"), "roles/web.yaml": None,
              "operators/bob.yaml": None}, by=None)  # fmt: skip
    assert h.problems() == ()


@pytest.mark.parametrize("mode", ["tip", "every"])
@pytest.mark.parametrize("by", ["stranger", "gpg:stranger"])
def test_a_key_of_nobody_here_is_named(history, keys, mode, by):
    files = {}
    if by.startswith("gpg:"):
        keys.gpg("stranger")
        files["trust/gpg/ann.asc"] = keys.gpg("ann")
    h = history(mode, **files)
    h.commit({}, by=by)
    said(h.problems(), "key", "is nobody's in operators/ and trust/")


def test_with_tip_only_the_newest_must_be_signed(history):
    h = history("tip")
    h.commit({"vms/db9.yaml": guest("db9", "2GiB")}, by=None)
    h.commit({}, by="ann")
    assert h.found().signer == "ann"
    other = h.commit({}, by=None)
    said(h.problems(), other[:7])


def test_with_every_each_must_be_signed(history):
    h = history("every")
    bad = h.commit({"vms/db9.yaml": guest("db9", "2GiB")}, by=None)
    h.commit({}, by="ann")
    said(h.problems(), f"{bad[:7]} (nobody): no signature; signers: every")


# --- rights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["tip", "every"])
def test_who_oversteps_is_told_what_and_what_they_may(history, mode):
    h = history(mode)
    tip = h.commit({"vms/db9.yaml": guest("db9", "2GiB"), "vms/web1.yaml": guest("web1", "2GiB")},
                   by="bob")  # fmt: skip
    problems = h.problems()
    assert problems[0].startswith(f"refused: {tip[:7]} (bob, key SHA256:")
    assert problems[1].split("  ")[1:] == [
        "vm/db9",
        " changes",
        " bob may change vm/web*, userdata/web*",
    ]
    said(problems, "Ask an admin to merge it (their signature on the merge counts)")
    h.commit({"vms/db9.yaml": guest("db9")}, by="bob")
    said(h.problems(), f"{tip[:7]} (bob")  # putting it back does not undo that it was done


@pytest.mark.parametrize("mode", ["tip", "every"])
def test_what_is_ones_own_needs_nobody_else(history, mode):
    h = history(mode)
    h.commit({"vms/web1.yaml": guest("web1", "2GiB"), "vms/web2.yaml": guest("web2")}, by="bob")
    assert h.found().signer == "bob"


@pytest.mark.parametrize("mode", ["tip", "every"])
@pytest.mark.parametrize(
    "change",
    [
        {"operators/bob.yaml": operator("bob", "ssh-ed25519 AAAA", roles="admin")},
        {"roles/web.yaml": "ROLE"},
        {"cluster.yaml": "CLUSTER"},
        {"trust/allowed_signers": "ALLOWED"},
        {".github/workflows/x.yml": "on: push\n"},
    ],
)
def test_nobody_but_an_admin_gives_rights(history, keys, mode, change):
    h = history(mode)
    ((path, text),) = change.items()
    texts = {
        "ROLE": (h.clone / "roles/web.yaml").read_text().replace("vm/web*", "vm/*"),
        "CLUSTER": (h.clone / "cluster.yaml")
        .read_text()
        .replace(f"signers: {mode}", "signers: none"),
        "ALLOWED": f"bob {keys.ssh('bob2')}\n",
    }
    files = {path: texts.get(text, text)}
    h.commit(files, by="bob")
    said(h.problems(), "only admins may change it")
    h.git("reset", "-q", "--hard", h.base)
    h.commit(files, by="ann")
    assert h.problems() == ()


@pytest.mark.parametrize("mode", ["tip", "every"])
def test_an_admins_merge_answers_for_what_it_brings(history, mode):
    h = history(mode)
    h.branch("feature")
    h.commit({"vms/db9.yaml": guest("db9", "2GiB")}, by="bob")
    h.checkout("main")
    h.merge("feature", by="ann")
    assert h.found().signer == "ann"


def test_a_limited_operators_merge_answers_for_nobody_else(history, keys):
    h = history("every", **{"operators/carl.yaml": operator("carl", keys.ssh("carl"), roles="web")})
    h.branch("feature")
    bad = h.commit({"vms/db9.yaml": guest("db9", "2GiB")}, by="bob")
    h.checkout("main")
    h.merge("feature", by="carl")
    said(h.problems(), f"{bad[:7]} (bob")


def test_a_merge_that_says_something_of_its_own_is_a_change_by_who_made_it(history):
    h = history("every")
    h.branch("feature")
    h.commit({"vms/web2.yaml": guest("web2")}, by="bob")
    h.checkout("main")
    h.git("merge", "-q", "--no-ff", "--no-commit", "feature", by="bob")
    h.write({"vms/db9.yaml": guest("db9", "8GiB")})
    evil = h.commit({}, by="bob", message="merge feature")
    said(h.problems(), f"{evil[:7]} (bob", "vm/db9")


@pytest.mark.parametrize("side", ["main's", "bob's"])
def test_a_merge_that_drops_others_work_is_a_change_by_who_made_it(history, side):
    h = history("every")
    h.branch("feature")
    h.commit({"vms/web2.yaml": guest("web2")}, by="bob")
    h.checkout("main")
    accepted = h.commit({"vms/db9.yaml": guest("db9", "8GiB")}, by="ann")
    if side == "main's":
        h.git("merge", "-q", "--no-ff", "--no-commit", "feature", by="bob")
        h.write({"vms/db9.yaml": guest("db9")})
        h.commit({}, by="bob", message="merge")
    else:  # from his own branch, whose first parent is not the accepted line
        h.checkout("feature")
        h.git("merge", "-q", "-s", "ours", "-m", "x", "main", by="bob")
    said(h.problems(base=accepted), "vm/db9", "bob may change")


def test_documents_that_do_not_parse_between_two_commits_hide_nothing(history):
    h = history("every")
    h.commit({"vms/web1.yaml": "broken: [\n"}, by="bob")
    h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by="bob")
    said(h.problems(), "its documents do not parse", "squash")
    h.commit({}, by="ann", message=f"vouch\n\nPvc-Vouch: {h.base}..{h.head()}")
    assert h.problems() == ()


# --- the merge buttons -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["tip", "every"])
@pytest.mark.parametrize("web", ["gpg:forge", "web-flow"])
def test_a_forges_merge_commit(history, keys, mode, web):
    h = history(mode, **forge(keys, web))
    h.branch("feature")
    h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by="bob")
    h.checkout("main")
    h.commit({"vms/db9.yaml": guest("db9", "2GiB")}, by="ann")
    h.merge("feature", by=web)
    assert h.found().signer == "the forge"


@pytest.mark.parametrize(("mode", "is_adopted"), [("tip", True), ("every", False)])
@pytest.mark.parametrize("web", ["gpg:forge", "web-flow"])
def test_a_forges_squash(history, keys, mode, is_adopted, web):
    h = history(mode, **forge(keys, web))
    h.branch("feature")
    h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by="bob")
    h.commit({"vms/web2.yaml": guest("web2")}, by="bob")
    h.checkout("main")
    h.git("merge", "-q", "--squash", "feature")
    h.commit({}, by=web, message="feature (#12)")
    if is_adopted:
        assert h.found().signer == "the forge"
    else:
        said(h.problems(), "may sign clean merges only", "Pvc-Vouch")


@pytest.mark.parametrize("mode", ["tip", "every"])
def test_a_forges_rebase(history, keys, mode):
    h = history(mode, **forge(keys))
    h.branch("feature")
    h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by="bob")
    h.checkout("main")
    h.commit({"vms/db9.yaml": guest("db9", "2GiB")}, by="ann")
    h.git("cherry-pick", "feature")  # what the button does: a copy, signed by nobody
    said(h.problems(), "no signature", "Pvc-Vouch")
    h.commit({}, by="ann", message=f"vouch\n\nPvc-Vouch: {h.base[:10]}..{h.head()[:10]}")
    assert h.problems() == ()


@pytest.mark.parametrize("mode", ["tip", "every"])
def test_a_fast_forward(history, keys, mode):
    h = history(mode, **forge(keys))
    h.branch("feature")
    h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by="bob")
    h.commit({"vms/web2.yaml": guest("web2")}, by="bob")
    h.checkout("main")
    h.git("merge", "-q", "--ff-only", "feature")
    assert h.found().signer == "bob"


def test_a_forge_without_a_key_signs_nothing(history, keys):
    keys.ssh("web-flow")
    h = history("tip")
    h.branch("feature")
    h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by="bob")
    h.checkout("main")
    h.merge("feature", by="web-flow")
    said(h.problems(), "is nobody's")


@pytest.mark.parametrize("mode", ["tip", "every"])
def test_a_forge_gives_no_rights(history, keys, mode):
    h = history(mode, **forge(keys))
    h.branch("feature")
    h.commit({"operators/bob.yaml": operator("bob", keys.ssh("bob"), roles="admin")}, by=None)
    h.checkout("main")
    h.merge("feature", by="web-flow")
    said(h.problems(), "only admins may change it" if mode == "tip" else "no signature")


def test_a_forges_merge_with_a_word_of_its_own_is_no_clean_merge(history, keys):
    h = history("every", **forge(keys))
    h.branch("feature")
    h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by="bob")
    h.checkout("main")
    h.git("merge", "-q", "--no-ff", "--no-commit", "feature")
    h.commit({"vms/web2.yaml": guest("web2")}, by="web-flow", message="merge")
    said(h.problems(), "may sign clean merges only")


# --- vouching --------------------------------------------------------------------------------------


def test_only_somebody_who_may_can_vouch(history):
    h = history("every")
    h.commit({"vms/db9.yaml": guest("db9", "2GiB")}, by=None)
    h.commit({}, by="bob", message=f"vouch\n\nPvc-Vouch: {h.base}..{h.head()}")
    said(h.problems(), "vm/db9", "bob may change")
    h.commit({}, by="ann", message=f"vouch\n\nPvc-Vouch: {h.base}..{h.head()}")
    assert h.problems() == ()


def test_a_vouch_covers_its_range_and_nothing_else(history):
    h = history("every")
    first = h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by=None)
    second = h.commit({"vms/web2.yaml": guest("web2")}, by=None)
    h.commit({}, by="ann", message=f"vouch\n\nPvc-Vouch: {first}..{second}")
    said(h.problems(), first[:7])
    assert second[:7] not in h.problems()[1]


def test_nobody_vouches_for_what_comes_later_or_for_themselves(history):
    h = history("every")
    h.branch("later")
    later = h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by=None)
    h.checkout("main")
    h.commit({}, by="ann", message=f"vouch\n\nPvc-Vouch: {h.base}..{later}")
    h.merge("later", by="ann")
    said(h.problems(), later[:7], "no signature")


def test_an_unsigned_vouch_is_none(history):
    h = history("every")
    h.commit({}, by=None, message=f"vouch\n\nPvc-Vouch: {h.base}..{h.base}")
    h.commit({}, by=None, message=f"vouch\n\nPvc-Vouch: {h.base}..{h.head()}")
    said(h.problems(), "no signature")


# --- handing over keys -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["tip", "every"])
def test_a_new_key_signs_what_comes_after_it_even_in_one_push(history, keys, mode):
    h = history(mode)
    ann2 = operator("ann", keys.ssh("ann"), keys.ssh("ann2"), roles="admin")
    h.commit({"operators/ann.yaml": ann2}, by="ann2")
    said(h.problems(), "is nobody's")
    h.git("reset", "-q", "--hard", h.base)
    h.commit({"operators/ann.yaml": ann2}, by="ann")
    h.commit({"operators/ann.yaml": operator("ann", keys.ssh("ann2"), roles="admin")}, by="ann2")
    h.commit({"vms/db9.yaml": guest("db9", "3GiB")}, by="ann2")
    assert h.problems() == ()
    h.commit({}, by="ann")
    said(h.problems(), "is nobody's")


@pytest.mark.parametrize("mode", ["tip", "every"])
def test_a_key_that_is_removed_signs_nothing_after_it(history, mode):
    h = history(mode)
    h.branch("old")
    h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by="bob")
    h.checkout("main")
    accepted = h.commit({"operators/bob.yaml": None}, by="ann")
    h.git("merge", "-q", "--no-ff", "-m", "x", "old", by="bob")
    said(h.problems(base=accepted), "is nobody's")
    said(h.problems(), "is nobody's")


def test_a_key_removed_in_the_commit_that_it_signs_has_signed_it(history, keys):
    h = history(
        "every", **{"operators/carl.yaml": operator("carl", keys.ssh("carl"), roles="admin")}
    )
    h.commit({"operators/carl.yaml": None}, by="carl")
    assert h.found().signer == "carl"
    h.commit({}, by="carl")
    said(h.problems(), "is nobody's")


def test_an_unproven_commit_changes_no_rule(history):
    h = history("tip")
    cluster = (h.clone / "cluster.yaml").read_text()
    h.commit({"cluster.yaml": cluster.replace("signers: tip", "signers: none")}, by=None)
    h.commit({}, by=None)
    said(h.problems(), "no signature")
    h.commit({}, by="bob")
    said(h.problems(), "cluster/", "only admins may change it")


@pytest.mark.parametrize("mode", ["none", "tip", "every"])
def test_the_last_admin_is_not_removed(history, keys, mode):
    h = history(mode)
    files = {"operators/ann.yaml": operator("ann", keys.ssh("ann")), "roles/web.yaml": None,
             "operators/bob.yaml": operator("bob", keys.ssh("bob"))}  # fmt: skip
    h.commit(files, by="ann")
    said(h.problems(), "takes the role admin from the last operator", "stays in force")


def test_a_change_that_leaves_nobody_to_sign_its_repair_is_refused(history, keys):
    soon = time.strftime("%Y%m%d", time.gmtime(time.time() - 2 * DAY_S))
    h = history("every")
    h.commit({"trust/allowed_signers": f"ann valid-before={soon} {keys.ssh('ann')}\n"}, by="ann")
    said(h.problems(), "leaves no admin with a key that is valid now")
    h.git("reset", "-q", "--hard", h.base)
    later = time.strftime("%Y%m%d", time.gmtime(time.time() + 2 * DAY_S))
    h.commit({"trust/allowed_signers": f"ann valid-before={later} {keys.ssh('ann')}\n"}, by="ann")
    assert h.problems() == ()


def test_a_key_whose_time_is_over_signs_nothing(history, keys):
    over = time.strftime("%Y%m%d", time.gmtime(time.time() - 2 * DAY_S))
    h = history(
        "tip", **{"trust/allowed_signers": f"ann valid-before={over} {keys.ssh('ann-old')}\n"}
    )
    h.commit({}, by="ann-old")
    said(h.problems(), "of ann is not valid now")
    assert h.problems(now_s=int(time.time()) - 10 * DAY_S) == ()


def test_an_openpgp_key_whose_time_is_over_signs_nothing(history, keys):
    past = time.strftime("%Y%m%dT%H%M%S", time.gmtime(time.time() - 30 * DAY_S))
    text = keys.gpg("olga", "seconds=86400", past)
    h = history(
        "tip",
        **{"operators/olga.yaml": operator("olga", roles="admin"), "trust/gpg/olga.asc": text},
    )
    # gpg does not sign with a key that is over, unless it believes it is still then.
    program = keys.home / "gpg-then"
    program.write_text(f'#!/bin/sh\nexec gpg --faked-system-time {past} "$@"\n')
    program.chmod(0o755)
    h.git("-c", f"gpg.program={program}", "commit", "-q", "--allow-empty", "-m", "x", by="gpg:olga")
    said(h.problems(), "OpenPGP key", "of olga is not valid now")


# --- hostile commits -------------------------------------------------------------------------------


def raw(h, rev="HEAD"):
    return h.git("cat-file", "commit", rev) + "\n"


def put(h, text):
    from signed_history import run

    name = run(
        "git",
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--stdin",
        "--literally",
        cwd=h.clone,
        stdin=text,
    )
    h.git("update-ref", "refs/heads/main", name)
    h.git("reset", "-q", "--hard", "main")
    return name


@pytest.mark.parametrize("mode", ["tip", "every"])
@pytest.mark.parametrize("by", ["ann", "gpg:ann"])
def test_a_signature_over_another_tree(history, keys, mode, by):
    h = history(mode, **({"trust/gpg/ann.asc": keys.gpg("ann")} if by == "gpg:ann" else {}))
    h.commit({}, by=by)
    signed = raw(h)
    old_tree = h.git("rev-parse", "HEAD^{tree}")
    h.write({"vms/db9.yaml": guest("db9", "64GiB")})
    put(h, signed.replace(old_tree, h.git("write-tree")))
    said(h.problems(), "did not sign what it holds")


def test_a_signature_of_another_commit(history):
    h = history("every")
    h.commit({"vms/web1.yaml": guest("web1", "2GiB")}, by="ann")
    signature = raw(h).split("gpgsig ")[1].split("\n\n")[0]
    h.git("reset", "-q", "--hard", h.base)
    h.commit({"vms/db9.yaml": guest("db9", "2GiB")}, by=None)
    head, message = raw(h).split("\n\n", 1)
    put(h, f"{head}\ngpgsig {signature}\n\n{message}")
    said(h.problems(), "did not sign what it holds")


@pytest.mark.parametrize("second", ["gpgsig", "gpgsig-sha256"])
def test_two_signatures(history, second):
    h = history("every")
    h.commit({}, by="ann")
    text = raw(h)
    signature = text.split("gpgsig ")[1].split("\n\n")[0]
    put(h, text.replace("\n\n", f"\n{second} {signature}\n\n", 1))
    said(h.problems(), "several signatures")


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("-----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----", "cannot be read"),
        ("-----BEGIN SSH SIGNATURE-----", "cannot be read"),
        ("-----BEGIN PGP SIGNATURE-----\n \n AAAA\n -----END PGP SIGNATURE-----", "did not sign"),
        ("-----BEGIN SIGNED MESSAGE-----\n AAAA", "neither of ssh nor of OpenPGP"),
        ("hello", "neither of ssh nor of OpenPGP"),
    ],
)
def test_what_is_no_signature(history, keys, signature, words):
    h = history("every", **({"trust/gpg/ann.asc": keys.gpg("ann")} if "PGP" in signature else {}))
    h.commit({}, by=None)
    put(h, raw(h).replace("\n\n", f"\ngpgsig {signature}\n\n", 1))
    said(h.problems(), words)


def test_a_signature_for_another_purpose(history, keys):
    from signed_history import run

    h = history("every")
    h.commit({}, by=None)
    text = raw(h)
    made = run("ssh-keygen", "-Y", "sign", "-f", keys.home / "ann", "-n", "file", stdin=text)
    signature = made.replace("\n", "\n ")
    put(h, text.replace("\n\n", f"\ngpgsig {signature}\n\n", 1))
    said(h.problems(), "did not sign what it holds")


def test_a_commit_of_a_thousand_parents(history):
    h = history("every")
    base = raw(h)
    tree = h.git("rev-parse", "HEAD^{tree}")
    parents = "".join(f"parent {h.base}\n" for _ in range(1000))
    put(h, f"tree {tree}\n{parents}" + "author a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n")
    assert base
    said(h.problems(), "it has 1000 parents, 16 is the most")


def test_more_commits_than_anybody_makes(history):
    h = history("every")
    stream = "".join(
        f"commit refs/heads/main\ncommitter a <a@b> {n} +0000\ndata 1\nx"
        + (f"\nfrom {h.base}\n" if n == 0 else "\n")
        for n in range(1001)
    )
    from signed_history import run

    run("git", "fast-import", "--quiet", "--force", cwd=h.clone, stdin=stream)
    with pytest.raises(RepoError, match="more than 1000 commits at once"):
        h.problems()


def test_an_authors_name_cannot_move_the_terminal(history):
    h = history("every")
    h.commit({}, by=None)
    put(h, raw(h).replace("author nobody", "author \x1b[2Jevil" + "x" * 500))
    line = h.problems()[1]
    assert "\x1b" not in line
    assert "[2Jevil" in line
    assert len(line) < 200
