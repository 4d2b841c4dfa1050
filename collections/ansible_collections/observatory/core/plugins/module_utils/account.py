"""The system user of a product, and its folders."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat

from .host import Failure, make_directories

USER_SPEC = {
    "name": {"type": "str", "required": True},
    "groups": {"type": "list", "elements": "str", "default": []},
    "members": {"type": "list", "elements": "str"},
}
DIRECTORY_SPEC = {
    "path": {"type": "str", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0755"},
    "data": {"type": "bool", "default": False},
}


def user_is_missing(name):
    """Whether there is no such user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return True
    return False


def ensure_user(host, spec):
    """Make the system user with a group of its name and no way to log in; return what was (or would be) done."""
    name = spec["name"]
    wanted = [group for group in spec.get("groups") or [] if not _is_member(name, group)]
    if user_is_missing(name):
        if not host.check:
            host.steps.reach("add the user")
            argv = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
            host.must(argv + ["--gid" if _group_exists(name) else "--user-group"] + ([name] if _group_exists(name) else []) + [name],
                      "user {0} cannot be added".format(name))
        done = ["user {0} added".format(name)]
    else:
        done = []
    if wanted:
        if not host.check:
            host.steps.reach("add the user to its groups")
            host.must(["usermod", "--append", "--groups", ",".join(wanted), name], "user {0} cannot join {1}".format(name, ", ".join(wanted)))
        done.append("user {0} joined {1}".format(name, ", ".join(wanted)))
    if spec.get("members") is not None:
        done += _ensure_members(host, name, sorted(set(spec["members"])))
    return done


def _ensure_members(host, group, members):
    """Have exactly these users in the product's group besides its own user."""
    strangers = [member for member in members if user_is_missing(member)]
    if strangers:
        raise Failure("there is no user {0} on this host to join the group {1}. Make the user, or take it off the list".format(
            ", ".join(strangers), group))
    try:
        present = sorted(grp.getgrnam(group).gr_mem)
    except KeyError:
        present = []
    if present == members:
        return []
    if not host.check:
        host.steps.reach("set the members of the group")
        host.must(["gpasswd", "--members", ",".join(members), group], "the members of {0} cannot be set".format(group))
    return ["group {0} has the members {1}".format(group, ", ".join(members) or "(none)")]


def ensure_directories(host, directories):
    """Make the folders with owner and mode; return what was (or would be) done."""
    done = []
    for spec in directories:
        path, mode = spec["path"], int(spec["mode"], 8)
        real = host.path(path)
        try:
            status = os.stat(real)
        except (FileNotFoundError, NotADirectoryError):
            status = None
        if status is not None and not stat.S_ISDIR(status.st_mode):
            raise Failure("{0}: a file is in the way of this folder. Move it away".format(path))
        try:
            owner = (pwd.getpwnam(spec["owner"]).pw_uid, grp.getgrnam(spec["group"]).gr_gid)
        except KeyError:
            if not host.check:
                raise Failure("{0}: there is no user {1} or group {2} on this host".format(path, spec["owner"], spec["group"]))
            owner = None
        if status is not None and stat.S_IMODE(status.st_mode) == mode and (status.st_uid, status.st_gid) == owner:
            continue
        if not host.check:
            host.steps.reach("make " + path)
            try:
                make_directories(real)
            except OSError as error:
                raise Failure("{0}: cannot be made: {1}".format(path, error.strerror))
            os.chown(real, *owner)
            os.chmod(real, mode)
        done.append("{0} made".format(path) if status is None else "{0} owner and mode set".format(path))
    return done


def remove_user(host, name):
    """Remove the user and its group; return whether there was one."""
    if user_is_missing(name):
        return False
    if not host.check:
        host.steps.reach("remove the user")
        host.must(["userdel", name], "user {0} cannot be removed".format(name))
        if _group_exists(name):
            host.run(["groupdel", name])
    return True


def remove_directories(host, directories, with_data):
    """Remove folders, those marked as data only when asked; return (removed, kept) paths that were there."""
    removed, kept = [], []
    for spec in sorted(directories, key=lambda entry: len(entry["path"]), reverse=True):
        real = host.path(spec["path"])
        if not os.path.isdir(real):
            continue
        if spec.get("data") and not with_data:
            kept.append(spec["path"])
            continue
        if any(path.startswith(spec["path"] + "/") for path in kept):
            kept.append(spec["path"])
            continue
        if not host.check:
            host.steps.reach("remove " + spec["path"])
            shutil.rmtree(real)
        removed.append(spec["path"])
    return removed, kept


def _group_exists(name):
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _is_member(user, group):
    try:
        entry = grp.getgrnam(group)
        return user in entry.gr_mem or pwd.getpwnam(user).pw_gid == entry.gr_gid
    except KeyError:
        return False
