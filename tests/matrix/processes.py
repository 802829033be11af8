"""The processes that this run has started, and all of theirs."""
import contextlib
import ctypes
import os
import pathlib
import signal
import time

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """What loses its parent becomes a child of this process, so that nothing can escape end_all()."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of_each():
    """Parent to children, zombies left out."""
    families = {}
    for folder in pathlib.Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            state, parent = (folder / 'stat').read_text().rpartition(')')[2].split()[:2]
            if state != 'Z':
                families.setdefault(int(parent), []).append(int(folder.name))
    return families


def children(pid):
    return children_of_each().get(pid, [])


def descendants(pid):
    families, found = children_of_each(), [pid]
    for each in found:
        found += families.get(each, [])
    return found[1:]


def has_ended(pid, seconds=5):
    """Or does so in a moment."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            if pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] in 'ZX':
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def command(pid):
    """Empty once it has ended."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f'/proc/{pid}/comm').read_text().strip()
    return ''


def title(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f'/proc/{pid}/cmdline').read_text().replace('\0', ' ').strip()
    return ''


def end_all():
    """Politely at first: a server that is killed leaves shared memory behind."""
    asked, patience_ends = set(), time.monotonic() + 5
    while descendants(os.getpid()):
        for pid in set(children(os.getpid())) - asked:
            send(pid, signal.SIGTERM)
            asked.add(pid)
        if time.monotonic() > patience_ends:
            for pid in descendants(os.getpid()):
                send(pid, signal.SIGKILL)
        time.sleep(0.05)


def send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
