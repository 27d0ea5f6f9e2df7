"""`bt key`: what keeps a domain's keys: recovery words and shares on paper, and the passphrases of the files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from btlib import os_keyring
from btlib.credentials import Credentials, CredentialStore
from btlib.home import Domain, find_passphrase
from btlib.kinds import Kind
from btlib.shares import MAX_COUNT, MIN_THRESHOLD, Share, split_seed
from btlib.words import seed_to_words

from ..asking import at_terminal, new_passphrase, passphrase
from ..errors import CommandError
from ..options import Json, PassphraseFile, ShareFiles, Shares, WordsFile, complete_petname
from ..output import give, remark, say
from ..recovery_shares import take_backup
from ..recovery_words import ask_back, numbered_lines, roots_of
from ..session import Session
from . import key_rotate

OnlyDomain = Annotated[
    str | None,
    typer.Argument(
        metavar="PETNAME", help="The domain; not needed where it is the only one.", autocompletion=complete_petname
    ),
]


def build() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(help="Recovery words, shares and passphrases of a domain's keys.", no_args_is_help=True)
    app.command("verify-backup")(verify_backup)
    app.command("show-words")(show_words)
    app.command("shares")(make_shares)
    app.command("passphrase")(change_passphrase)
    app.command("remember")(remember)
    app.command("forget")(forget)
    app.command("rotate")(key_rotate.rotate)
    app.command("sign-rotation")(key_rotate.sign_rotation)
    return app


def verify_backup(
    petname: OnlyDomain = None,
    words_file: WordsFile = None,
    shares: Shares = False,
    share_files: ShareFiles = None,
    json: Json = False,
) -> None:
    """Check that words or shares on paper are a domain's.

    They are typed, or read from files, and compared with the root that this machine knows. No word is shown, no
    passphrase is needed, and nothing is changed. Of shares as many are needed as for recovering.

    Examples:

      bt key verify-backup home

      bt key verify-backup home --shares
    """
    domain = Session().home.domain(petname)
    seed = take_backup(words_file, shares=shares, share_files=share_files or ())
    what = "shares" if shares or share_files else "recovery words"
    if domain.root not in {candidate.public.principal for candidate in roots_of(seed)}:
        raise CommandError(
            f"these are {what}, but not those of {domain.petname}, whose root is {domain.root}",
            kind=Kind.UNAUTHENTICATED,
            hint="look for the right sheet; where root-credentials lies, bt key show-words shows the words",
        )
    if json:
        give({"petname": domain.petname, "root": str(domain.root), "matches": True})
    else:
        say(f"These are the {what} of {domain.petname}: they make the keys of {domain.root}.")


def show_words(petname: OnlyDomain = None, json: Json = False) -> None:
    """Show the recovery words of a domain, to write down.

    Only at a terminal, only where the file root-credentials lies, and only after its passphrase was typed: neither a
    file nor the environment counts. The words go to the terminal, also with --json.

    Example: bt key show-words home
    """
    domain = Session().home.domain(petname)
    root = _reveal_root(domain)
    remark(f"These words are the root of {domain.petname}. Write them on paper, in order, and show them to nobody:\n")
    for line in numbered_lines(seed_to_words(root.seed)):
        remark(line)
    remark("\nThen clear the screen, and prove the paper: bt key verify-backup")
    if json:
        give({"petname": domain.petname, "root": str(domain.root)})


def make_shares(
    petname: OnlyDomain = None,
    threshold: Annotated[
        int, typer.Option(min=MIN_THRESHOLD, max=MAX_COUNT, metavar="M", help="How many shares bring the domain back.")
    ] = 2,
    count: Annotated[
        int, typer.Option(min=MIN_THRESHOLD, max=MAX_COUNT, metavar="N", help="How many shares are made.")
    ] = 3,
    json: Json = False,
) -> None:
    """Split the root's keys into shares to write down. Any M of N bring the domain back; fewer say nothing.

    For people or places that shall not each have the whole. Only at a terminal, only where the file root-credentials
    lies, and only after its passphrase was typed. A few words of each share are asked back; nothing is stored. Shares
    made before, and the recovery words, go on to work: destroy those that shall not.

    Example: bt key shares home --threshold 3 --count 5
    """
    if threshold > count:
        raise CommandError(f"of {count} shares, {threshold} cannot be needed", hint="--threshold is at most --count")
    domain = Session().home.domain(petname)
    root = _reveal_root(domain)
    shares = split_seed(root.seed, threshold, count)
    for share in shares:
        _hand_over(domain, share, count)
    if json:
        set_id = shares[0].set_id
        give(
            {"petname": domain.petname, "root": str(domain.root), "threshold": threshold, "count": count, "set": set_id}
        )
        return
    say(f"{count} shares of {domain.petname} are made; any {threshold} of them are its root.")
    say("Next: bring them to their places. To prove some of them: bt key verify-backup --shares")
    say("A sheet with the recovery words is the root by itself; destroy it, or keep it as safe as the shares are.")


def _hand_over(domain: Domain, share: Share, count: int) -> None:
    remark(f"\nShare {share.number} of {count}, on a sheet of its own. Note beside it:")
    remark(f"  {domain.root}")
    remark(f"  share {share.number} of {count}, any {share.threshold} are needed, set {share.set_id}\n")
    for line in numbered_lines(share.words):
        remark(line)
    ask_back(share.words, hint="begin again: bt key shares; shares of the set that was begun can be burnt")


def _reveal_root(domain: Domain) -> Credentials:
    """The root's secret, after its passphrase was typed at a terminal; neither a file nor the environment counts."""
    _require_root(domain)
    if not (at_terminal() and sys.stderr.isatty()):
        raise CommandError("secret words are shown at a terminal alone", hint="run it in one, unredirected")
    secret = passphrase(f"the root of {domain.petname}", None, environ={})
    root = domain.root_credentials.reveal(secret)
    if root.public.principal != domain.root:
        raise CommandError(
            f"{domain.root_credentials_file} holds the keys of another root, {root.public.principal}",
            kind=Kind.INTEGRITY,
            hint="put the right file there"
            if not root.chains
            else "if they act for the root since bt key rotate --root, its words are on paper only",
        )
    return root


def change_passphrase(
    petname: OnlyDomain = None,
    root: Annotated[bool, typer.Option("--root", help="That of the root's keys, in place of this machine's.")] = False,
    new_passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Read the new passphrase from the first line of FILE (mode 0600)."),
    ] = None,
    json: Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Change the passphrase of keys. Those of this machine, or with --root the root's.

    The keys stay the same. A copy of the file that was made before still opens with the old passphrase.

    Examples:

      bt key passphrase home

      bt key passphrase home --root
    """
    domain = Session().home.domain(petname)
    if root:
        _require_root(domain)
    store = domain.root_credentials if root else domain.credentials
    what = f"the root of {domain.petname}" if root else f"this machine in {domain.petname}"
    old = passphrase(what, passphrase_file)
    store.unlock(old)  # before a new one is typed twice
    new = _new_passphrase(what, new_passphrase_file)
    if new == old:
        raise CommandError("the new passphrase is the old one; nothing was changed", hint="choose another")
    remembered = not root and os_keyring.recall(domain) is not None
    store.change_passphrase(old, new)
    if remembered:
        os_keyring.remember(domain, new)
    _show_changed(domain, store, root=root, as_json=json)


def remember(petname: OnlyDomain = None, json: Json = False, passphrase_file: PassphraseFile = None) -> None:
    """Put the passphrase of this machine's keys in the keyring. It is that of the desktop session.

    From then on bt, btfuse and btfsd take it from there before they ask. Whoever is logged in as you then has it too.
    Needs the Python package keyring, and a keyring that works: see keyring diagnose.

    Example: bt key remember home
    """
    domain = Session().home.domain(petname)
    secret = passphrase(f"this machine in {domain.petname}", passphrase_file)
    domain.credentials.unlock(secret)  # a wrong one is not worth keeping
    os_keyring.remember(domain, secret)
    if json:
        give({"petname": domain.petname, "remembered": True})
    else:
        say(f"The keyring holds the passphrase of this machine in {domain.petname}. To take it out: bt key forget")


def forget(petname: OnlyDomain = None, json: Json = False) -> None:
    """Take that passphrase out of the keyring again.

    Example: bt key forget home
    """
    domain = Session().home.domain(petname)
    was_there = os_keyring.forget(domain)
    if json:
        give({"petname": domain.petname, "forgotten": was_there})
    else:
        say("It is out of the keyring." if was_there else f"The keyring holds no passphrase of {domain.petname}.")


def _new_passphrase(what: str, file: Path | None) -> str:
    """From the file or the terminal; what the environment holds is the old one."""
    if file is not None:
        return find_passphrase({}, file)
    if not at_terminal():
        raise CommandError(
            "a new passphrase is needed, and there is no terminal to ask for it",
            kind=Kind.UNAUTHENTICATED,
            hint="use --new-passphrase-file FILE",
        )
    return new_passphrase(what, None, environ={})


def _require_root(domain: Domain) -> None:
    if not domain.root_credentials.exists():
        raise CommandError(
            f"the root's keys of {domain.petname} are not on this machine: there is no {domain.root_credentials_file}",
            kind=Kind.NOT_FOUND,
            hint="they lie where the domain was made, or where that file was moved to",
        )


def _show_changed(domain: Domain, store: CredentialStore, *, root: bool, as_json: bool) -> None:
    file = domain.root_credentials_file if root else domain.credentials_file
    if as_json:
        give({"petname": domain.petname, "principal": str(store.public().principal), "file": str(file)})
        return
    say(f"{file} has a new passphrase. Copies made before still open with the old one.")
    if not root and domain.root_credentials.exists():
        say(f"The root's keys keep theirs; to change it: bt key passphrase {domain.petname} --root")
